-- By source: when its last webhook came, what waits since when, and how many are rejected.
SELECT
    a.name,
    max(w.received_at),
    count(*) FILTER (WHERE w.state = 'new'),
    min(w.received_at) FILTER (WHERE w.state = 'new'),
    count(*) FILTER (WHERE w.state = 'rejected')
FROM callkeeper_webhooks AS w
JOIN general_accounts AS a ON a.account_id = w.account_id
WHERE a.name = ANY(%(names)s)
GROUP BY a.name
