-- Days of a source with calls that are not final, or that only webhooks have told of.
SELECT d.day
FROM callkeeper_days AS d
JOIN general_accounts AS a ON a.account_id = d.account_id
WHERE a.name = %(name)s AND d.non_final > 0
    AND d.day < %(before)s AND (%(since)s::date IS NULL OR d.day >= %(since)s)
UNION
SELECT told.day
FROM general_accounts AS a
CROSS JOIN LATERAL (
    SELECT DISTINCT (c.called_at AT TIME ZONE %(time_zone)s)::date AS day
    FROM callkeeper_calls AS c
    WHERE c.account_id = a.account_id AND c.origin = 'webhook'
) AS told
WHERE a.name = %(name)s
    AND told.day < %(before)s AND (%(since)s::date IS NULL OR told.day >= %(since)s)
ORDER BY day
