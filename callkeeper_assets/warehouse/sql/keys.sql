-- The different keys of the calls' objects, each with its path's place in $paths; with {day}
-- "day, ", by day. Calls of one shape are taken apart once. Beside them, what some call that has
-- such a key needs: whether a key stands twice in its object, whether it has numbers that DuckDB
-- would read as doubles, or the character 0.
WITH shapes AS (
    SELECT
        {day}any_value(payload) AS payload,
        bool_or(regexp_matches(payload, '{number}')) AS is_odd,
        bool_or(contains(payload, '\u0000')) AS has_zeros
    FROM raw
    GROUP BY {day}hash(json_keys(payload, $paths))
),
objects AS (
    SELECT
        {day}unnest(json_keys(payload, $paths)) AS keys,
        unnest(range(len($paths))) AS place,
        is_odd,
        has_zeros
    FROM shapes
)
SELECT {day}place, key, bool_or(is_doubled), bool_or(is_odd), bool_or(has_zeros)
FROM (
    SELECT *, unnest(keys) AS key, len(keys) <> len(list_distinct(keys)) AS is_doubled
    FROM objects
)
GROUP BY {day}place, key
