-- A message that is about to be sent.
UPDATE callkeeper_alert_messages SET state = 'sending', attempts = attempts + 1 WHERE id = %(id)s
