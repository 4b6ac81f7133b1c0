-- By day: calls of the account, and those that have facts.
SELECT days.day, count(c.id), count(f.calls_id)
FROM unnest(%(days)s::date[], %(starts)s::timestamptz[], %(ends)s::timestamptz[])
    AS days (day, starts_at, ends_at)
LEFT JOIN callkeeper_calls AS c
    ON c.account_id = %(account_id)s
    AND c.called_at >= days.starts_at AND c.called_at < days.ends_at
LEFT JOIN callkeeper_calls_facts AS f ON f.account_id = c.account_id AND f.calls_id = c.id
GROUP BY days.day
ORDER BY days.day
