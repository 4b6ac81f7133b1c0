-- What sources said of their keys, last.
SELECT a.name, k.checked_at, k.paid_till, k.error
FROM callkeeper_keys AS k
JOIN general_accounts AS a USING (account_id)
WHERE a.name = ANY(%(names)s)
ORDER BY a.name
