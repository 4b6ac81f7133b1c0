-- Per source: the days loaded, its calls, and what loads did to the tables since the month began.
SELECT
    a.name,
    a.caption,
    a.interval_start,
    a.interval_end,
    (SELECT count(*) FROM callkeeper_days AS d WHERE d.account_id = a.account_id),
    (SELECT count(*) FROM callkeeper_calls AS c WHERE c.account_id = a.account_id),
    l.added,
    l.updated,
    l.deleted,
    l.last_load,
    (
        SELECT count(*) FROM callkeeper_days AS d
        WHERE d.account_id = a.account_id AND d.reading < %(reading)s
    )
FROM general_accounts AS a
LEFT JOIN LATERAL (
    SELECT
        coalesce(sum(rows_added), 0)::bigint AS added,
        coalesce(sum(rows_updated), 0)::bigint AS updated,
        coalesce(sum(rows_deleted), 0)::bigint AS deleted,
        max(finished_at) FILTER (WHERE error IS NULL) AS last_load
    FROM callkeeper_loads
    WHERE account_id = a.account_id AND finished_at >= %(since)s
) AS l ON true
WHERE a.id <> 1 AND a.name = ANY(%(names)s)
ORDER BY a.name
