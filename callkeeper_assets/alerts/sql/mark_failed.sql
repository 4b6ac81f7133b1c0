-- A message that is not delivered: twice as long a pause after each attempt, and an end.
UPDATE callkeeper_alert_messages
SET state = CASE
        WHEN created_at < clock_timestamp() - %(given_up_after)s::interval THEN 'given_up'
        ELSE 'waiting'
    END,
    due_at = clock_timestamp()
        + least(%(first_pause)s::interval * 2 ^ least(attempts - 1, 20), %(longest_pause)s::interval),
    error = %(error)s
WHERE id = %(id)s
