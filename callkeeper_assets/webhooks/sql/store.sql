-- Stores deliveries. In the order of the key, so that two receivers with the same payloads wait for
-- each other and do not deadlock. Whose digest is there already is left out, and counted by repeats;
-- looked for beforehand, since ON CONFLICT would wait for a run that is changing the row. Not by NOT
-- EXISTS: as a join it is planned by what the inbox held once, and can read all of it each time.
INSERT INTO callkeeper_webhooks (
    account_id, received_at, event, call_id, format, body, digest, receipt, state, reason,
    processed_at
)
SELECT
    account_id, received_at, event, call_id, format, body, digest, receipt,
    CASE WHEN reason IS NULL THEN 'new' ELSE 'rejected' END,
    reason,
    CASE WHEN reason IS NOT NULL THEN received_at END
FROM unnest(
    %(accounts)b::int[], %(times)b::timestamptz[], %(events)b::text[], %(calls)b::bigint[],
    %(formats)b::text[], %(bodies)b::bytea[], %(digests)b::text[], %(receipts)b::uuid[],
    %(reasons)b::text[]
) AS given (
    account_id, received_at, event, call_id, format, body, digest, receipt, reason
)
WHERE (
    SELECT known.id
    FROM callkeeper_webhooks AS known
    WHERE known.account_id = given.account_id AND known.digest = given.digest
) IS NULL
ORDER BY account_id, digest, received_at
ON CONFLICT (account_id, digest) DO NOTHING
