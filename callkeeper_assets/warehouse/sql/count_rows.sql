-- By day: calls of the account that the source has told of, and those of them that have facts. Days
-- without any are left out.
SELECT
    (%(days)s::date[])[width_bucket(c.called_at, %(starts)s::timestamptz[])] AS day,
    count(*),
    count(f.calls_id)
FROM callkeeper_calls AS c
LEFT JOIN callkeeper_calls_facts AS f ON f.account_id = c.account_id AND f.calls_id = c.id
WHERE c.account_id = %(account_id)s AND c.origin = 'api'
    AND c.called_at >= %(starts_at)s AND c.called_at < %(ends_at)s
GROUP BY day
ORDER BY day
