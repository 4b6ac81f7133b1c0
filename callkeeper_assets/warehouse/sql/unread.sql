-- By day, how many values of each field cannot be read; see fields.sql.
WITH parsed AS (
    SELECT raw.day, json_transform(raw.payload, '{shape}') AS doc FROM raw
),
fields AS (
    SELECT day, {fields} FROM parsed
)
SELECT day, {counts} FROM fields GROUP BY day
