-- Some final calls of a source's day.
SELECT c.account_id, c.id
FROM callkeeper_calls AS c
JOIN general_accounts AS a ON a.account_id = c.account_id
JOIN callkeeper_calls_facts AS f ON f.account_id = c.account_id AND f.calls_id = c.id
JOIN general_dates AS d ON d.id = f.dates_id
WHERE a.name = %(source)s AND d.simple_date = %(day)s AND c.is_final AND c.origin = 'api'
ORDER BY c.call_id
LIMIT %(count)s
