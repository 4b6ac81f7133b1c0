-- Raw calls to their fields as text: one row a call inside a segment of its day, that is a stretch
-- of the day in which the clock's distance from UTC does not change. call_sql fills in the
-- paths that occur, the readings, the transformation, and what becomes of each call. Each value is
-- read once: a text that is a whole number or a moment as read_<field>.
WITH parsed AS (
    SELECT
        raw.call_id,
        raw.called_at,
        raw.day,
        (epoch_us(raw.called_at) // 60000000 + segments.offset_minutes)::INTEGER AS local_minute,
        json_transform(raw.payload, '{shape}') AS doc,
        raw.payload
    FROM raw
    JOIN segments
        ON segments.day = raw.day
        AND raw.called_at >= segments.starts_at
        AND raw.called_at < segments.ends_at
),
leaves AS (
    SELECT
        call_id, called_at, day, local_minute,
        CASE
            WHEN {is_objectless} THEN regexp_matches(payload, '{object}') ELSE false
        END AS is_misplaced
        {leaves}
    FROM parsed
),
fields AS (
    SELECT call_id, called_at, day, local_minute, is_misplaced, {fields} FROM leaves
),
plain_fields AS (
    SELECT *, {is_plain} AS is_plain, phone_list(phone1) AS managers FROM fields
),
readings AS (
    SELECT
        *,
        coalesce(
            first_phone(managers), blank_to_null(split_part(phone1, '^', 1))
        ) AS manager,
        {readings}
    FROM plain_fields
),
call_values AS (
    {transform}
)
SELECT *, {outcome} FROM call_values
