-- What a run has to tell of some days: what it found or healed, and what is open.
SELECT
    day, call_id, parameter, kind, warehouse_value, source_value, healed_at IS NOT NULL AS is_healed
FROM callkeeper_discrepancies
WHERE account_id = $1 AND day = ANY($3)
    AND (run_id = $2 OR healed_run_id = $2 OR healed_at IS NULL)
ORDER BY day, call_id, parameter
