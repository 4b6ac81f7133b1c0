-- Loads of some days of a source: one row a run and day, with what they did to each table. Of what
-- webhooks told, which comes all day long, just the loads that settled one of the call's own.
SELECT
    max(l.finished_at),
    l.day,
    l.origin,
    l.run_id,
    max(l.error),
    coalesce(
        jsonb_object_agg(
            l.table_name,
            jsonb_build_object(
                'added', l.rows_added, 'updated', l.rows_updated, 'deleted', l.rows_deleted
            )
        ) FILTER (
            WHERE l.table_name IS NOT NULL AND l.rows_added + l.rows_updated + l.rows_deleted > 0
        ),
        '{}'
    )
FROM callkeeper_loads AS l
WHERE l.account_id = %(account_id)s AND l.day = ANY(%(days)s)
    AND (l.origin <> 'webhook' OR l.started_at IN (
        SELECT w.processed_at
        FROM callkeeper_webhooks AS w
        WHERE w.account_id = l.account_id AND w.call_id = %(call_id)s
    ))
GROUP BY l.run_id, l.day, l.origin, l.error IS NULL
