-- Calls of the account that the warehouse holds, with their facts. {calls} and {facts} are
-- columns, {condition} says which calls.
SELECT c.id, c.call_id, {calls}, f.calls_id IS NOT NULL AS has_facts, {facts}
FROM callkeeper_calls AS c
-- By their key, call by call: an account that the server has no statistics of yet is taken for empty,
-- and all its facts would be read again for each call. OFFSET keeps the server from joining freely.
LEFT JOIN LATERAL (
    SELECT * FROM callkeeper_calls_facts AS f
    WHERE f.account_id = c.account_id AND f.calls_id = c.id
    OFFSET 0
) AS f ON true
WHERE c.account_id = {account_id} AND {condition}
