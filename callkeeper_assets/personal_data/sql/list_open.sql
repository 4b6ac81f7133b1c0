-- Calls that a request noted and did not come to the end of: it was killed, or could not write.
SELECT f.call_id, f.scope, f.day
FROM callkeeper_forgotten_calls AS f
JOIN callkeeper_erasures AS e USING (account_id, request_id)
WHERE f.account_id = %(account_id)s AND e.finished_at IS NULL
