-- The causes that are not over, of kinds that this version knows, and how often one like each has begun since a moment.
SELECT
    a.id, a.kind, a.subject, a.place, a.severity, a.since, a.facts, a.first_seen_at,
    a.last_seen_at, a.told_at,
    (
        SELECT count(*)::int
        FROM callkeeper_alerts AS b
        WHERE b.kind = a.kind AND b.subject = a.subject AND b.place = a.place
            AND b.began_at >= %(since)s
    )
FROM callkeeper_alerts AS a
WHERE a.ended_at IS NULL AND a.kind = ANY(%(kinds)s)
ORDER BY a.id
