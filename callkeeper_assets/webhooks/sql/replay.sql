-- Has rejected payloads processed again: a source's `webhook.fields` were wrong, say.
UPDATE callkeeper_webhooks AS w
SET state = 'new', reason = NULL, processed_at = NULL
FROM general_accounts AS a
WHERE a.account_id = w.account_id AND a.name = ANY(%(names)s) AND w.state = 'rejected'
