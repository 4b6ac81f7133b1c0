-- Of which sources did no call ever become a talk?
-- Из каких источников ни один звонок так и не стал разговором?
SELECT source, medium, count(*) AS calls, max(date) AS last_call
FROM calls
WHERE source IS NOT NULL
GROUP BY source, medium
HAVING count(*) FILTER (WHERE outcome = 'answered') = 0
ORDER BY calls DESC, source, medium
