-- The different keys of the calls' objects, each with its path's place in $paths; with {day}
-- "day, ", by day. Calls of one shape are taken apart once.
WITH shapes AS (
    SELECT {day}any_value(keys) AS keys
    FROM (SELECT day, json_keys(payload, $paths) AS keys FROM raw)
    GROUP BY {day}hash(keys)
),
objects AS (
    SELECT {day}unnest(keys) AS keys, unnest(range(len(keys))) AS place FROM shapes
)
SELECT DISTINCT {day}place, unnest(keys) AS key FROM objects
