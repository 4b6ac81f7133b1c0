-- Jobs of this product whose failed runs, since a moment, no later success has made good: one that
-- began after the failure; of a backfill's run one over the same days, as its other runs are others'.
WITH failed AS (
    SELECT
        r.id, r.run_id, r.pipeline_name, r.backfill_id, tag.value AS sources,
        (
            SELECT min(t.value) FROM dagster.run_tags AS t
            WHERE t.run_id = r.run_id
                AND t.key IN ('dagster/partition', 'dagster/asset_partition_range_start')
        ) AS first,
        (
            SELECT max(t.value) FROM dagster.run_tags AS t
            WHERE t.run_id = r.run_id
                AND t.key IN ('dagster/partition', 'dagster/asset_partition_range_end')
        ) AS last,
        coalesce(to_timestamp(r.end_time), r.update_timestamp AT TIME ZONE 'UTC') AS ended_at
    FROM dagster.runs AS r
    JOIN dagster.run_tags AS tag ON tag.run_id = r.run_id AND tag.key = 'callkeeper/source'
    WHERE r.status = 'FAILURE' AND r.update_timestamp >= %(since)s
),
open AS (
    SELECT f.*
    FROM failed AS f
    WHERE NOT EXISTS (
        SELECT
        FROM dagster.runs AS s
        WHERE s.pipeline_name = f.pipeline_name AND s.id > f.id AND s.status = 'SUCCESS'
            AND to_timestamp(s.start_time) > f.ended_at
            AND (f.backfill_id IS NULL OR NOT EXISTS (
                SELECT
                FROM dagster.run_tags AS days
                WHERE days.run_id = f.run_id AND days.key IN (
                        'dagster/partition', 'dagster/asset_partition_range_start',
                        'dagster/asset_partition_range_end'
                    )
                    AND NOT EXISTS (
                        SELECT
                        FROM dagster.run_tags AS same
                        WHERE same.run_id = s.run_id AND same.key = days.key
                            AND same.value = days.value
                    )
            ))
    )
),
jobs AS (
    SELECT
        pipeline_name AS job, max(sources) AS sources, max(id) AS newest, min(ended_at) AS ended_at,
        max(ended_at) AS last_ended_at,
        CASE WHEN bool_and(first IS NOT NULL) THEN min(first) END AS first,
        CASE WHEN bool_and(last IS NOT NULL) THEN max(last) END AS last,
        array_agg(run_id ORDER BY id DESC) AS run_ids
    FROM open
    GROUP BY pipeline_name
)
SELECT
    j.job, j.sources, j.run_ids, j.ended_at, j.last_ended_at, j.first, j.last,
    EXISTS (
        SELECT
        FROM dagster.runs AS later
        WHERE later.pipeline_name = j.job AND later.id > j.newest
            AND later.status NOT IN ('SUCCESS', 'FAILURE', 'CANCELED')
    ),
    (
        SELECT e.event
        FROM dagster.event_logs AS e
        WHERE e.run_id = j.run_ids[1]
            AND e.dagster_event_type IN ('STEP_FAILURE', 'PIPELINE_FAILURE')
        ORDER BY e.dagster_event_type <> 'STEP_FAILURE', e.id
        LIMIT 1
    )
FROM jobs AS j
ORDER BY j.job
