-- What waits in the inbox, by source.
SELECT a.name, count(*), min(w.id), min(w.received_at)
FROM callkeeper_webhooks AS w
JOIN general_accounts AS a ON a.account_id = w.account_id
WHERE w.state = 'new'
GROUP BY a.name
ORDER BY a.name
