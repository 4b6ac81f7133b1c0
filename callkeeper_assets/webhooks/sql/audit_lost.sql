-- Puts what the audit of a day has found into the book; what is there already keeps when and by
-- which run it was found.
INSERT INTO callkeeper_lost_webhooks AS l (
    account_id, day, call_id, position, event, method, status, kind, is_held, found_at, run_id
)
SELECT
    a.account_id, %(day)s, found.call_id, found.position, found.event, found.method, found.status,
    found.kind, found.is_held, now(), %(run_id)s
FROM general_accounts AS a
CROSS JOIN unnest(
    %(call_ids)s::bigint[], %(positions)s::integer[], %(events)s::text[], %(methods)s::text[],
    %(statuses)s::integer[], %(kinds)s::text[], %(are_held)s::boolean[]
) AS found (call_id, position, event, method, status, kind, is_held)
WHERE a.name = %(name)s
ON CONFLICT (account_id, day, call_id, position) DO UPDATE
SET event = excluded.event,
    method = excluded.method,
    status = excluded.status,
    kind = excluded.kind,
    is_held = excluded.is_held
WHERE (l.event, l.method, l.status, l.kind, l.is_held) IS DISTINCT FROM (
    excluded.event, excluded.method, excluded.status, excluded.kind, excluded.is_held
)
