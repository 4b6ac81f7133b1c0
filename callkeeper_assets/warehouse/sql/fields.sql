-- Raw calls to their fields as text: one row a call inside a segment of its day, that is a stretch
-- of the day in which the clock's distance from UTC does not change. call_sql fills in the
-- paths that occur, the transformation, and what becomes of each call.
WITH parsed AS (
    SELECT
        raw.call_id,
        raw.called_at,
        raw.day,
        (epoch_us(raw.called_at) // 60000000 + segments.offset_minutes)::INTEGER AS local_minute,
        json_transform(raw.payload, '{shape}') AS doc
    FROM raw
    JOIN segments
        ON segments.day = raw.day
        AND raw.called_at >= segments.starts_at
        AND raw.called_at < segments.ends_at
),
fields AS (
    SELECT call_id, called_at, day, local_minute, {fields} FROM parsed
),
call_values AS (
    {transform}
)
SELECT *, {outcome} FROM call_values
