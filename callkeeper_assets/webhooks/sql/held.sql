-- The payloads that the inbox holds of calls: event, and how often each came.
SELECT w.call_id, w.event, 1 + (
    SELECT count(*)::int
    FROM callkeeper_webhook_repeats AS r
    WHERE r.account_id = w.account_id AND r.webhook_id = w.id
)
FROM callkeeper_webhooks AS w
JOIN general_accounts AS a USING (account_id)
WHERE a.name = %(name)s AND w.call_id = ANY(%(call_ids)s)
ORDER BY w.id
