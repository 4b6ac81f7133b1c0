-- By day: calls the warehouse holds of the source's own, and of these the ones that the source does
-- not send any more. What only a webhook told of was never sent.
SELECT e.day, count(*), count(*) FILTER (WHERE frame.call_id IS NULL)
FROM existing AS e
LEFT JOIN frame ON frame.call_id = e.call_id
WHERE e.day IS NOT NULL AND e.origin = 'api'
GROUP BY e.day
