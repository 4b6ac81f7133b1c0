-- What CallKeeper says it sent, and the inbox does not hold.
SELECT a.name, l.call_id, l.event
FROM callkeeper_lost_webhooks AS l
JOIN general_accounts AS a ON a.account_id = l.account_id
ORDER BY l.call_id, l.position
