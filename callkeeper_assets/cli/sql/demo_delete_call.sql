-- Somebody's careless deletion.
DELETE FROM callkeeper_calls_facts WHERE account_id = %(account_id)s AND calls_id = %(id)s
