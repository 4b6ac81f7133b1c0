-- Sources of which the last that the load log has, since a moment, is a failure.
SELECT a.name, last.day, last.run_id, last.error, last.finished_at
FROM general_accounts AS a
CROSS JOIN LATERAL (
    SELECT l.day, l.run_id, l.error, l.finished_at
    FROM callkeeper_loads AS l
    WHERE l.account_id = a.account_id
    ORDER BY l.id DESC
    LIMIT 1
) AS last
WHERE a.name = ANY(%(names)s) AND last.error IS NOT NULL AND last.finished_at >= %(since)s
ORDER BY a.name
