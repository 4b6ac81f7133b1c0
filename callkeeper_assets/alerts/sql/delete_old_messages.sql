-- Messages of long ago; of those that nobody has taken since, no process has the channel any more.
DELETE FROM callkeeper_alert_messages WHERE created_at < %(before)s
