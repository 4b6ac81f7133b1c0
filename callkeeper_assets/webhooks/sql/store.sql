-- Stores deliveries; ids are in their order. Inserted in the order of the key, so that two receivers
-- with the same payloads wait for each other and do not deadlock.
-- Whose digest is there already is left out, and counted by repeats. Should a run be changing its
-- row, this waits: the connection's lock_timeout ends it, and unknown tells which to leave out.
INSERT INTO callkeeper_webhooks (
    id, account_id, received_at, event, call_id, format, body, digest, receipt, state, reason,
    processed_at
)
SELECT
    id, account_id, received_at, event, call_id, format,
    substr(%(bodies)b::bytea, start, size),
    digest, receipt,
    CASE WHEN reason IS NULL THEN 'new' ELSE 'rejected' END,
    reason,
    CASE WHEN reason IS NOT NULL THEN received_at END
FROM (
    SELECT
        nextval((SELECT pg_get_serial_sequence('callkeeper_webhooks', 'id')::regclass)) AS id,
        given.*
    FROM unnest(
        %(accounts)b::int[], %(times)b::timestamptz[], %(events)b::text[], %(calls)b::bigint[],
        %(formats)b::text[], %(starts)b::int[], %(sizes)b::int[], %(digests)b::text[],
        %(receipts)b::uuid[], %(reasons)b::text[]
    ) WITH ORDINALITY AS given (
        account_id, received_at, event, call_id, format, start, size, digest, receipt, reason,
        place
    )
) AS numbered
ORDER BY account_id, digest, place
ON CONFLICT (account_id, digest) DO NOTHING
