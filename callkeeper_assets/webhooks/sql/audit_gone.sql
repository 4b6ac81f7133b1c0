-- Takes out of the book what a new audit of the day has not found: it has come after all.
DELETE FROM callkeeper_lost_webhooks AS l
USING general_accounts AS a
WHERE a.name = %(name)s AND l.account_id = a.account_id AND l.day = %(day)s
    AND NOT EXISTS (
        SELECT 1
        FROM unnest(%(call_ids)s::bigint[], %(positions)s::integer[]) AS found (call_id, position)
        WHERE (found.call_id, found.position) = (l.call_id, l.position)
    )
