-- Payloads of the inbox, the newest first, without their bodies: these hold phone numbers.
SELECT
    w.id, a.name, w.received_at, w.event, w.call_id, w.format, octet_length(w.body),
    (
        SELECT count(*) FROM callkeeper_webhook_repeats AS r
        WHERE r.account_id = w.account_id AND r.webhook_id = w.id
    ),
    w.state, w.reason
FROM callkeeper_webhooks AS w
JOIN general_accounts AS a USING (account_id)
WHERE a.name = ANY(%(names)s) AND w.state = %(state)s
ORDER BY w.received_at DESC, w.id DESC
LIMIT %(most)s
