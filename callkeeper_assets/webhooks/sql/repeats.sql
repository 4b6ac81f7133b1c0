-- Counts those deliveries whose payload had come before. Takes no lock on the inbox's rows: a run
-- may be processing them.
INSERT INTO callkeeper_webhook_repeats (account_id, receipt, webhook_id, received_at)
SELECT given.account_id, given.receipt, known.id, given.received_at
FROM unnest(
    %(accounts)b::int[], %(times)b::timestamptz[], %(digests)b::text[], %(receipts)b::uuid[]
) AS given (account_id, received_at, digest, receipt)
JOIN callkeeper_webhooks AS known USING (account_id, digest)
WHERE known.receipt <> given.receipt
ON CONFLICT (account_id, receipt) DO NOTHING
