-- The audited days of a source on which webhooks were sent.
SELECT d.day, d.sent, d.lost
FROM callkeeper_webhook_days AS d
JOIN general_accounts AS a USING (account_id)
WHERE a.name = %(name)s AND d.day BETWEEN %(first)s AND %(last)s AND d.sent > 0
ORDER BY d.day
