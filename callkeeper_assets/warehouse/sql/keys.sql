-- The different keys of the calls' objects, each with its path's place in $paths; with {day}
-- "day, ", by day. Calls of one shape are taken apart once. Beside them, what some call that has
-- such a key needs: whether a key stands twice in its object, whether it has numbers that DuckDB
-- would read as doubles, or the character 0.
WITH shapes AS (
    SELECT
        {day}hash(json_keys(payload, $paths)) AS shape,
        any_value(payload) AS payload,
        bool_or(regexp_matches(payload, '{number}')) AS is_odd,
        bool_or(contains(payload, '\u0000')) AS has_zeros
    FROM raw
    GROUP BY {day}shape
),
objects AS (
    SELECT
        {day}shape,
        unnest(json_keys(payload, $paths)) AS keys,
        unnest(range(len($paths))) AS place,
        is_odd,
        has_zeros
    FROM shapes
),
counted AS (
    SELECT {day}shape, place, key, is_odd, has_zeros, count(*) AS copies
    FROM (SELECT *, unnest(keys) AS key FROM objects)
    GROUP BY ALL
)
SELECT {day}place, key, bool_or(copies > 1), bool_or(is_odd), bool_or(has_zeros)
FROM counted
GROUP BY {day}place, key
