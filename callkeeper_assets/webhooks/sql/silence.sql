-- When a source's last webhook came, and the calls after it, of the time looked at, that the source
-- shows. The newest calls are left out: their webhooks may be under way.
SELECT last.received_at, (
    SELECT count(*)
    FROM callkeeper_calls AS c
    WHERE c.account_id = a.account_id AND c.origin = 'api'
        AND c.called_at > greatest(last.received_at, now() - %(look_back)s)
        AND c.called_at < now() - interval '10 minutes'
)
FROM general_accounts AS a
CROSS JOIN LATERAL (
    SELECT max(w.received_at) AS received_at
    FROM callkeeper_webhooks AS w
    WHERE w.account_id = a.account_id
) AS last
WHERE a.name = %(name)s
