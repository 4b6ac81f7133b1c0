-- The same message, unless somebody else sends it now, or has sent it.
SELECT id FROM callkeeper_alert_messages
WHERE id = %(id)s AND state = 'sending'
FOR UPDATE SKIP LOCKED
