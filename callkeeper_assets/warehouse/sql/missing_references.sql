-- How many facts of the days find no row by each key; one pass, whatever the number of keys.
SELECT {counts}
FROM callkeeper_calls AS c
JOIN callkeeper_calls_facts AS f ON f.account_id = c.account_id AND f.calls_id = c.id
{joins}
WHERE c.account_id = %(account_id)s
    AND c.called_at >= %(starts_at)s AND c.called_at < %(ends_at)s
