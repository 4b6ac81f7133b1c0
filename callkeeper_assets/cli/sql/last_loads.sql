-- The last run that loaded each source, or failed to: when it ended and, of the days it failed,
-- how many and the first one's reason.
SELECT a.name, run.finished_at, run.run_id, run.days_failed, run.error
FROM general_accounts AS a
CROSS JOIN LATERAL (
    SELECT l.run_id
    FROM callkeeper_loads AS l
    WHERE l.account_id = a.account_id
    ORDER BY l.id DESC
    LIMIT 1
) AS last
CROSS JOIN LATERAL (
    SELECT
        last.run_id,
        max(l.finished_at) AS finished_at,
        count(DISTINCT l.day) FILTER (WHERE l.error IS NOT NULL) AS days_failed,
        (array_agg(l.error ORDER BY l.day) FILTER (WHERE l.error IS NOT NULL))[1] AS error
    FROM callkeeper_loads AS l
    WHERE l.account_id = a.account_id AND l.run_id = last.run_id
) AS run
WHERE a.name = ANY(%s)
