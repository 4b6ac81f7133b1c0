-- What was noted while the clock was ahead, as if it was noted now: a calm, a pause before the next try, how often something came back, and what is known of a key would last until the clock has caught up.
-- What is not there stays so: least() would take a cause that nobody was told of for told.
WITH causes AS (
    UPDATE callkeeper_alerts
    SET first_seen_at = least(first_seen_at, %(now)s),
        last_seen_at = least(last_seen_at, %(now)s),
        began_at = CASE WHEN began_at IS NOT NULL THEN least(began_at, %(now)s) END,
        told_at = CASE WHEN told_at IS NOT NULL THEN least(told_at, %(now)s) END,
        ended_at = CASE WHEN ended_at IS NOT NULL THEN least(ended_at, %(now)s) END
    WHERE greatest(last_seen_at, told_at) > %(limit)s
),
keys AS (
    UPDATE callkeeper_keys SET checked_at = %(now)s WHERE checked_at > %(limit)s
)
UPDATE callkeeper_alert_messages
SET due_at = clock_timestamp()
WHERE state IN ('waiting', 'sending')
    AND due_at > clock_timestamp() + %(longest_pause)s::interval
