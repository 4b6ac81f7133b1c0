-- How many facts of the days, by their minute, have no call.
SELECT count(*)
FROM callkeeper_calls_facts AS f
WHERE f.account_id = %(account_id)s
    AND f.dates_id >= (%(first)s - date '1970-01-01') * 1440
    AND f.dates_id < (%(last)s + 1 - date '1970-01-01') * 1440
    AND NOT EXISTS (
        SELECT FROM callkeeper_calls AS c WHERE c.account_id = f.account_id AND c.id = f.calls_id
    )
