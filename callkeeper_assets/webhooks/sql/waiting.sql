-- What waits to be processed, by source: read often, so by the index of new rows alone.
SELECT a.name, count(*), min(w.id), min(w.received_at)
FROM callkeeper_webhooks AS w
JOIN general_accounts AS a USING (account_id)
WHERE w.state = 'new'
GROUP BY a.name
ORDER BY a.name
