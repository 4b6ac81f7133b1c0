-- What a source said of its key.
UPDATE callkeeper_keys SET checked_at = now(), paid_till = %(paid_till)s, error = %(error)s
WHERE account_id = (SELECT account_id FROM general_accounts WHERE name = %(name)s)
