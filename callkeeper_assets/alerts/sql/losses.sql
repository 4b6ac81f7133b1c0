-- Webhooks that the audit found to be lost or refused since a moment, by source.
SELECT
    a.name, (count(*) FILTER (WHERE NOT l.is_held))::int,
    (count(*) FILTER (WHERE l.is_held))::int, min(l.found_at)
FROM callkeeper_lost_webhooks AS l
JOIN general_accounts AS a USING (account_id)
WHERE a.name = ANY(%(names)s) AND l.found_at >= %(since)s
GROUP BY a.name
ORDER BY a.name
