-- What waits to be processed, by source: payloads that are new, and those that have come again since.
-- Read often, so by the indexes of what waits alone.
SELECT a.name, count(DISTINCT w.id), min(w.id), min(w.received_at)
FROM (
    SELECT account_id, id, received_at FROM callkeeper_webhooks WHERE state = 'new'
    UNION ALL
    SELECT account_id, webhook_id, received_at FROM callkeeper_webhook_repeats WHERE is_waiting
) AS w
JOIN general_accounts AS a USING (account_id)
GROUP BY a.name
ORDER BY a.name
