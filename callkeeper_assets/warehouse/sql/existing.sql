-- Calls of the account that the warehouse holds, with their facts. {calls} and {facts} are
-- columns, {condition} says which calls.
SELECT c.id, c.call_id, {calls}, f.calls_id IS NOT NULL AS has_facts, {facts}
FROM callkeeper_calls AS c
LEFT JOIN callkeeper_calls_facts AS f ON f.account_id = c.account_id AND f.calls_id = c.id
WHERE c.account_id = {account_id} AND {condition}
