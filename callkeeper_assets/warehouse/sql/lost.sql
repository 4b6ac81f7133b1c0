-- By day: calls the warehouse holds, and of these the ones that the source does not send any more.
SELECT e.day, count(*), count(*) FILTER (WHERE frame.call_id IS NULL)
FROM existing AS e
LEFT JOIN frame ON frame.call_id = e.call_id
WHERE e.day IS NOT NULL
GROUP BY e.day
