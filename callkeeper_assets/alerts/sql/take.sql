-- The oldest message that is due of each channel's first ones, locked unless somebody sends it.
SELECT m.id, m.channel, m.key::text, m.title, m.body, m.document, m.state = 'sending'
FROM callkeeper_alert_messages AS m
WHERE m.state IN ('waiting', 'sending') AND m.due_at <= now() AND m.channel = ANY(%(channels)s)
    AND NOT EXISTS (
        SELECT
        FROM callkeeper_alert_messages AS before
        WHERE before.channel = m.channel AND before.id < m.id
            AND before.state IN ('waiting', 'sending')
    )
ORDER BY m.id
LIMIT 1
FOR UPDATE OF m SKIP LOCKED
