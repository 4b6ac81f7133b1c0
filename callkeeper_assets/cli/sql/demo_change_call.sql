-- Somebody's careless update.
UPDATE callkeeper_calls_facts
SET duration_sec = duration_sec + 100, attempt = attempt + 1
WHERE account_id = %(account_id)s AND calls_id = %(id)s
