-- How many payloads the inbox holds of calls, by event; one that came again counts again.
SELECT w.call_id, w.event, count(*)::int + sum(r.count)::int
FROM callkeeper_webhooks AS w
JOIN general_accounts AS a USING (account_id)
CROSS JOIN LATERAL (
    SELECT count(*) AS count
    FROM callkeeper_webhook_repeats AS r
    WHERE r.account_id = w.account_id AND r.webhook_id = w.id
) AS r
WHERE a.name = %(name)s AND w.call_id = ANY(%(call_ids)s)
GROUP BY w.call_id, w.event
