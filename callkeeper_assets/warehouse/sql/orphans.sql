-- How many facts of the days, by their minute, have no call.
SELECT count(*)
FROM callkeeper_calls_facts AS f
LEFT JOIN callkeeper_calls AS c ON c.account_id = f.account_id AND c.id = f.calls_id
WHERE f.account_id = %(account_id)s AND c.id IS NULL
    AND f.dates_id / 1440 BETWEEN %(first)s - date '1970-01-01' AND %(last)s - date '1970-01-01'
