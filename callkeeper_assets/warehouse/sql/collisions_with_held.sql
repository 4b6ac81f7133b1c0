-- Calls of the batch whose id was made by hashing (from {hashed} on) and is that of another
-- call that the warehouse holds: the one that is there keeps it.
SELECT
    frame.day,
    frame.call_id,
    ltrim(trim(frame.universal_id), '0') AS universal_id,
    ltrim(trim(held.universal_id), '0') AS held_by
FROM frame
JOIN held ON held.call_id = frame.call_id
WHERE frame.call_id >= {hashed}
    AND ltrim(trim(frame.universal_id), '0') <> ltrim(trim(held.universal_id), '0')
