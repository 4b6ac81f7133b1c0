-- A cause that was told while the database was away; nothing if one like it is not over.
INSERT INTO callkeeper_alerts (
    kind, subject, place, severity, since, facts, text, first_seen_at, last_seen_at, began_at, told_at
)
VALUES (
    %(kind)s, %(subject)s, %(place)s, %(severity)s, %(since)s, %(values)s, %(text)s, %(since)s,
    %(now)s, %(told_at)s, %(told_at)s
)
ON CONFLICT (kind, subject, place) WHERE ended_at IS NULL
DO UPDATE SET last_seen_at = excluded.last_seen_at
