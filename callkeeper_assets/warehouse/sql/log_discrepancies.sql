-- Brings the log of discrepancies to what a comparison of the days ($3) found ($6 to $12, parallel).
-- An open one that is found again keeps its row; an open one that is not found any more is closed.
WITH found AS (
    SELECT *
    FROM unnest(
        $6::date[], $7::bigint[], $8::text[], $9::text[], $10::text[], $11::text[], $12::integer[]
    ) AS t (day, call_id, parameter, kind, warehouse_value, source_value, is_healed)
),
again AS (
    UPDATE callkeeper_discrepancies AS d
    SET kind = f.kind,
        warehouse_value = f.warehouse_value,
        source_value = f.source_value,
        healed_at = CASE WHEN f.is_healed = 1 THEN $4 END,
        healed_run_id = CASE WHEN f.is_healed = 1 THEN $2 END
    FROM found AS f
    WHERE d.account_id = $1 AND d.healed_at IS NULL
        AND d.day = f.day AND d.call_id = f.call_id AND d.parameter = f.parameter
    RETURNING d.day, d.call_id, d.parameter
),
gone AS (
    UPDATE callkeeper_discrepancies AS d
    SET healed_at = $4
    WHERE d.account_id = $1 AND d.healed_at IS NULL AND d.day = ANY($3)
        AND NOT EXISTS (
            SELECT FROM found AS f
            WHERE f.day = d.day AND f.call_id = d.call_id AND f.parameter = d.parameter
        )
)
INSERT INTO callkeeper_discrepancies (
    account_id, day, call_id, parameter, kind, warehouse_value, source_value, found_at, healed_at,
    run_id, healed_run_id
)
SELECT
    $1, f.day, f.call_id, f.parameter, f.kind, f.warehouse_value, f.source_value, $5,
    CASE WHEN f.is_healed = 1 THEN $4 END, $2, CASE WHEN f.is_healed = 1 THEN $2 END
FROM found AS f
WHERE NOT EXISTS (
    SELECT FROM again AS a
    WHERE a.day = f.day AND a.call_id = f.call_id AND a.parameter = f.parameter
)
-- A step that Dagster runs again in one run may find again what it had healed.
ON CONFLICT (account_id, run_id, day, call_id, parameter) DO UPDATE
SET kind = excluded.kind,
    warehouse_value = excluded.warehouse_value,
    source_value = excluded.source_value,
    found_at = excluded.found_at,
    healed_at = excluded.healed_at,
    healed_run_id = excluded.healed_run_id
