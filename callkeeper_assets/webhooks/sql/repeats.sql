-- Counts those deliveries whose payload had come before; each waits to be processed, as it may be the
-- last word on its call, but for those that can be no call. Takes no lock on the inbox's rows: a run
-- may be processing them. LATERAL and LIMIT keep it a look by key for each.
INSERT INTO callkeeper_webhook_repeats (account_id, receipt, webhook_id, received_at, is_waiting)
SELECT
    given.account_id, given.receipt, known.id, given.received_at, known.state <> 'rejected'
FROM unnest(
    %(accounts)b::int[], %(times)b::timestamptz[], %(digests)b::text[], %(receipts)b::uuid[]
) AS given (account_id, received_at, digest, receipt)
CROSS JOIN LATERAL (
    SELECT id, receipt, state
    FROM callkeeper_webhooks
    WHERE account_id = given.account_id AND digest = given.digest
    LIMIT 1
) AS known
WHERE known.receipt <> given.receipt
ON CONFLICT (account_id, receipt) DO NOTHING
