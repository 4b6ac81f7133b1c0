-- By day, how many values of each field cannot be read; see fields.sql.
WITH parsed AS (
    SELECT raw.day, json_transform(raw.payload, '{shape}') AS doc FROM raw
),
leaves AS (
    SELECT day {leaves} FROM parsed
),
fields AS (
    SELECT day, {fields} FROM leaves
),
plain_fields AS (
    SELECT *, {is_plain} AS is_plain FROM fields
),
readings AS (
    SELECT *, {readings} FROM plain_fields
)
SELECT day, {counts} FROM readings GROUP BY day
