-- By source: its newest day, when a load last succeeded, whether the last run that loaded it failed
-- a day, the discrepancies that are open, the webhooks of late that were lost. By indexes: what there is of loads grows for ever.
SELECT
    a.name,
    (SELECT max(d.day) FROM callkeeper_days AS d WHERE d.account_id = a.account_id),
    (
        SELECT l.finished_at
        FROM callkeeper_loads AS l
        WHERE l.account_id = a.account_id AND l.error IS NULL
        ORDER BY l.id DESC
        LIMIT 1
    ),
    last.has_failed,
    (
        SELECT count(*)
        FROM callkeeper_discrepancies AS d
        WHERE d.account_id = a.account_id AND d.healed_at IS NULL
    ),
    (
        SELECT coalesce(sum(w.lost), 0)::int
        FROM callkeeper_webhook_days AS w
        WHERE w.account_id = a.account_id AND w.day >= %(since)s
    )
FROM general_accounts AS a
LEFT JOIN LATERAL (
    SELECT EXISTS (
        SELECT
        FROM callkeeper_loads AS l
        WHERE l.account_id = a.account_id AND l.run_id = newest.run_id AND l.error IS NOT NULL
    ) AS has_failed
    FROM (
        SELECT l.run_id
        FROM callkeeper_loads AS l
        WHERE l.account_id = a.account_id
        ORDER BY l.id DESC
        LIMIT 1
    ) AS newest
) AS last ON true
WHERE a.name = ANY(%(names)s)
