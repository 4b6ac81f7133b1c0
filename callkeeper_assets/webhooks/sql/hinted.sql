-- Days with a newer hint than what was asked of the source for them: read often, so by the index of
-- new hints, and the load log of few days.
SELECT a.name, h.day, h.hinted_at
FROM callkeeper_webhook_hints AS h
JOIN general_accounts AS a USING (account_id)
WHERE h.hinted_at > now() - interval '2 days' AND NOT EXISTS (
    SELECT 1
    FROM callkeeper_loads AS l
    WHERE l.account_id = h.account_id AND l.day = h.day AND l.origin = 'api'
        AND l.error IS NULL AND l.report IS NULL AND l.fetched_at > h.hinted_at
)
ORDER BY a.name, h.day
