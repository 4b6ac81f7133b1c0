-- A call as the warehouse holds it now, with its numbers.
SELECT
    c.called_at, c.status, c.is_final, c.origin, c.loaded_at,
    f.duration_sec, f.duration2_sec, f.attempt, f.asr_attempts, f.playback_tick
FROM callkeeper_calls AS c
LEFT JOIN callkeeper_calls_facts AS f ON f.account_id = c.account_id AND f.calls_id = c.id
WHERE c.account_id = %(account_id)s AND c.call_id = %(call_id)s
