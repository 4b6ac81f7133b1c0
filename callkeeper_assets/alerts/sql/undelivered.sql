-- What is not delivered.
SELECT channel, title, created_at, attempts, error
FROM callkeeper_alert_messages
WHERE state IN ('waiting', 'sending')
ORDER BY id
