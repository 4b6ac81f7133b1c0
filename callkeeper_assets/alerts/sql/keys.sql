-- What sources said of their keys, if it is not long ago; a refusal no more once a load succeeded.
SELECT
    a.name, k.checked_at, k.paid_till,
    CASE
        WHEN k.checked_at > %(refused_since)s AND NOT EXISTS (
            SELECT
            FROM (
                SELECT l.origin, l.error, l.finished_at
                FROM callkeeper_loads AS l
                WHERE l.account_id = k.account_id
                ORDER BY l.id DESC
                LIMIT 1
            ) AS last
            WHERE last.origin = 'api' AND last.error IS NULL AND last.finished_at > k.checked_at
        )
        THEN k.error
    END
FROM callkeeper_keys AS k
JOIN general_accounts AS a USING (account_id)
WHERE a.name = ANY(%(names)s) AND k.checked_at > %(since)s
ORDER BY a.name
