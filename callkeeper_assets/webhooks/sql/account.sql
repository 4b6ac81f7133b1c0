-- Makes a source's account where a webhook comes before the first load, as a load would make it.
WITH next AS (
    SELECT nextval(pg_get_serial_sequence('general_accounts', 'id')) AS id
    WHERE NOT EXISTS (SELECT 1 FROM general_accounts WHERE name = %(name)s)
)
INSERT INTO general_accounts (id, account_id, caption, service, enabled, status, name)
SELECT id, id, %(name)s, 'CallKeeper', true, 'new', %(name)s FROM next
ON CONFLICT (name) DO NOTHING
