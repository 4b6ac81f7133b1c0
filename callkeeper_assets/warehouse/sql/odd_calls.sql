-- Which calls, in their order, are to be rewritten before their fields are read: see keys.sql.
SELECT
    regexp_matches(payload, '{number}') OR regexp_matches(payload, '{object}')
    OR len(list_filter(
        json_keys(payload, $paths), lambda keys: len(keys) <> len(list_distinct(keys))
    )) > 0
FROM raw
