-- Checks of which a newest result is a failure that is an error, from a row on: by asset and check,
-- how many days, the last of them, since when, and the newest result.
SELECT
    e.asset_key, e.check_name, count(*)::int, max(e.partition),
    min(e.evaluation_event_timestamp),
    (array_agg(e.evaluation_event ORDER BY e.id DESC))[1]
FROM dagster.asset_check_executions AS e
WHERE e.id >= %(first)s AND e.execution_status = 'FAILED'
    AND position('"AssetCheckSeverity.ERROR"' IN e.evaluation_event) > 0
    AND NOT EXISTS (
        SELECT
        FROM dagster.asset_check_executions AS newer
        WHERE newer.asset_key = e.asset_key AND newer.check_name = e.check_name
            AND newer.partition IS NOT DISTINCT FROM e.partition AND newer.id > e.id
            AND newer.execution_status IN ('SUCCEEDED', 'FAILED')
    )
GROUP BY e.asset_key, e.check_name
ORDER BY e.asset_key, e.check_name
