-- Calls of the batch whose id was made by hashing (from {hashed} on) and is that of another
-- call of it: of those, the one with the lesser universal id keeps it.
SELECT
    day,
    call_id,
    universal_id,
    first_value(universal_id) OVER (
        PARTITION BY call_id ORDER BY length(universal_id), universal_id
    ) AS held_by
FROM (
    SELECT day, call_id, ltrim(trim(universal_id), '0') AS universal_id
    FROM {frame}
    WHERE call_id >= {hashed} AND universal_id IS NOT NULL
)
QUALIFY universal_id <> held_by
