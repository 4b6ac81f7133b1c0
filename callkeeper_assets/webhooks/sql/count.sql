-- How many payloads of each source are in which state; a source without any has a row too.
SELECT
    a.name,
    count(*) FILTER (WHERE w.state = 'new'),
    count(*) FILTER (WHERE w.state = 'processed'),
    count(*) FILTER (WHERE w.state = 'hint'),
    count(*) FILTER (WHERE w.state = 'rejected'),
    (SELECT count(*) FROM callkeeper_webhook_repeats AS r WHERE r.account_id = a.account_id),
    min(w.received_at) FILTER (WHERE w.state = 'new'),
    greatest(max(w.received_at), (
        SELECT max(r.received_at) FROM callkeeper_webhook_repeats AS r
        WHERE r.account_id = a.account_id
    ))
FROM general_accounts AS a
LEFT JOIN callkeeper_webhooks AS w USING (account_id)
WHERE a.name = ANY(%(names)s)
GROUP BY a.account_id, a.name
ORDER BY a.name
