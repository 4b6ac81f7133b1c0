-- What was noted while the clock was ahead, as if it was noted now: a calm, a pause before the next try, and what is known of a key would last until the clock has caught up.
WITH causes AS (
    UPDATE callkeeper_alerts
    SET first_seen_at = least(first_seen_at, %(now)s),
        last_seen_at = least(last_seen_at, %(now)s),
        told_at = least(told_at, %(now)s)
    WHERE ended_at IS NULL AND greatest(last_seen_at, told_at) > %(limit)s
),
keys AS (
    UPDATE callkeeper_keys SET checked_at = %(now)s WHERE checked_at > %(limit)s
)
UPDATE callkeeper_alert_messages
SET due_at = clock_timestamp()
WHERE state IN ('waiting', 'sending')
    AND due_at > clock_timestamp() + %(longest_pause)s::interval
