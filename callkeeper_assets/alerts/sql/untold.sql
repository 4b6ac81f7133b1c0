-- Whether a message is not delivered in its first minutes, or a cause lasts that nobody is told.
SELECT EXISTS (
    SELECT
    FROM callkeeper_alert_messages AS m
    WHERE m.state IN ('waiting', 'sending') AND m.created_at < %(before)s
) OR (%(has_no_channel)s AND EXISTS (
    SELECT
    FROM callkeeper_alerts AS a
    WHERE a.ended_at IS NULL AND a.first_seen_at < %(before)s
))
