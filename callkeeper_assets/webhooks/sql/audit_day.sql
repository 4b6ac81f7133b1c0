-- What the audit of a day came to.
INSERT INTO callkeeper_webhook_days (
    account_id, day, sent, lost, refused, is_listed, audited_at, run_id
)
SELECT account_id, %(day)s, %(sent)s, %(lost)s, %(refused)s, %(is_listed)s, now(), %(run_id)s
FROM general_accounts
WHERE name = %(name)s
ON CONFLICT (account_id, day) DO UPDATE
SET sent = excluded.sent,
    lost = excluded.lost,
    refused = excluded.refused,
    is_listed = excluded.is_listed,
    audited_at = excluded.audited_at,
    run_id = excluded.run_id
