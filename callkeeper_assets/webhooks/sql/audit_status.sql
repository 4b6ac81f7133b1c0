-- How the audit of sources stands, over the days since a day.
SELECT
    a.name, max(d.audited_at), sum(d.sent)::int, sum(d.lost)::int, sum(d.refused)::int,
    (count(*) FILTER (WHERE d.is_listed))::int, (count(*) FILTER (WHERE NOT d.is_listed))::int
FROM callkeeper_webhook_days AS d
JOIN general_accounts AS a USING (account_id)
WHERE a.name = ANY(%(names)s) AND d.day >= %(since)s
GROUP BY a.name
