-- A message that is delivered.
UPDATE callkeeper_alert_messages
SET state = 'sent', sent_at = clock_timestamp(), error = NULL
WHERE id = %(id)s
