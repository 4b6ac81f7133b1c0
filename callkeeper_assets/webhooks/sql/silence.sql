-- When a source's last webhook came, be it one that had come before, and the calls after it, of the time looked at, that the source
-- shows. The newest calls are left out: their webhooks may be under way.
SELECT last.received_at, (
    SELECT count(*)
    FROM callkeeper_calls AS c
    WHERE c.account_id = a.account_id AND c.origin = 'api'
        AND c.called_at > greatest(last.received_at, now() - %(look_back)s, %(since)s)
        AND c.called_at < now() - interval '10 minutes'
)
FROM general_accounts AS a
CROSS JOIN LATERAL (
    SELECT greatest(
        (SELECT max(received_at) FROM callkeeper_webhooks WHERE account_id = a.account_id),
        (SELECT max(received_at) FROM callkeeper_webhook_repeats WHERE account_id = a.account_id)
    ) AS received_at
) AS last
WHERE a.name = %(name)s
