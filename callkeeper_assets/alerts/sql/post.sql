-- A message for a channel.
INSERT INTO callkeeper_alert_messages (
    channel, key, title, body, document, created_at, state, attempts, due_at
)
VALUES (
    %(channel)s, %(key)s, %(title)s, %(body)s, %(document)s, %(now)s, 'waiting', 0, now()
)
