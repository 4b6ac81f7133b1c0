-- A cause that lasts; what was told of it once is not told again for being less bad now.
UPDATE callkeeper_alerts
SET severity = CASE WHEN told_at IS NULL OR %(is_told)s THEN %(severity)s ELSE severity END,
    since = %(since)s, facts = %(values)s, text = %(text)s, last_seen_at = %(now)s,
    began_at = CASE WHEN %(is_told)s THEN coalesce(began_at, %(now)s) ELSE began_at END,
    told_at = CASE WHEN %(is_told)s THEN %(now)s ELSE told_at END
WHERE id = %(id)s
RETURNING id
