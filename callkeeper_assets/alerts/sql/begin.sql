-- A cause that is new.
INSERT INTO callkeeper_alerts (
    kind, subject, place, severity, since, facts, text, first_seen_at, last_seen_at, began_at, told_at
)
VALUES (
    %(kind)s, %(subject)s, %(place)s, %(severity)s, %(since)s, %(values)s, %(text)s, %(now)s, %(now)s,
    CASE WHEN %(is_told)s THEN %(now)s::timestamptz END,
    CASE WHEN %(is_told)s THEN %(now)s::timestamptz END
)
RETURNING id
