-- By day, in one pass: calls of the account that the source has told of, those of them that have
-- facts, how many facts of all calls are of a minute of the days, and how many find no row by each
-- key. Days without any are left out.
SELECT
    (%(days)s::date[])[width_bucket(c.called_at, %(starts)s::timestamptz[])] AS day,
    count(*) FILTER (WHERE c.origin = 'api'),
    count(f.calls_id) FILTER (WHERE c.origin = 'api'),
    count(*) FILTER (WHERE f.dates_id >= %(first_minute)s AND f.dates_id < %(end_minute)s),
    {counts}
FROM callkeeper_calls AS c
LEFT JOIN callkeeper_calls_facts AS f ON f.account_id = c.account_id AND f.calls_id = c.id
{joins}
WHERE c.account_id = %(account_id)s
    AND c.called_at >= %(starts_at)s AND c.called_at < %(ends_at)s
GROUP BY 1
