-- Stores deliveries; ids are in their order. Inserted in the order of the key, so that two receivers
-- with the same payloads wait for each other and do not deadlock.
-- Whose digest is there already is left out, and counted by repeats; looked for beforehand, since ON
-- CONFLICT would wait for a run that is changing the row. Not by NOT EXISTS: as a join it is planned
-- by what the inbox held once, and can read all of it each time.
INSERT INTO callkeeper_webhooks (
    id, account_id, received_at, event, call_id, format, body, digest, receipt, state, reason,
    processed_at
)
SELECT
    id, account_id, received_at, event, call_id, format, body, digest, receipt,
    CASE WHEN reason IS NULL THEN 'new' ELSE 'rejected' END,
    reason,
    CASE WHEN reason IS NOT NULL THEN received_at END
FROM (
    SELECT nextval(pg_get_serial_sequence('callkeeper_webhooks', 'id')) AS id, ordered.*
    FROM (
        SELECT *
        FROM unnest(
            %(accounts)b::int[], %(times)b::timestamptz[], %(events)b::text[], %(calls)b::bigint[],
            %(formats)b::text[], %(bodies)b::bytea[], %(digests)b::text[], %(receipts)b::uuid[],
            %(reasons)b::text[]
        ) WITH ORDINALITY AS given (
            account_id, received_at, event, call_id, format, body, digest, receipt, reason, place
        )
        WHERE (
            SELECT known.id
            FROM callkeeper_webhooks AS known
            WHERE known.account_id = given.account_id AND known.digest = given.digest
        ) IS NULL
        ORDER BY place
    ) AS ordered
) AS numbered
ORDER BY account_id, digest, place
ON CONFLICT (account_id, digest) DO NOTHING
