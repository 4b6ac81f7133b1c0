-- Which attempt succeeds?
-- С какой попытки удаётся соединить?
SELECT attempt, count(*) AS calls, count(*) FILTER (WHERE outcome = 'answered') AS answered,
    round(100.0 * count(*) FILTER (WHERE outcome = 'answered') / count(*), 1) AS answered_share
FROM calls
WHERE is_final AND attempt IS NOT NULL
GROUP BY attempt
ORDER BY attempt
