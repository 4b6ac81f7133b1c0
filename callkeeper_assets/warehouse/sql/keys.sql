-- The different sets of keys that calls have, by day: a list for each path in $paths.
SELECT day, any_value(keys)
FROM (SELECT day, json_keys(payload, $paths) AS keys FROM raw)
GROUP BY day, hash(keys)
