-- How does each month stand against the one before?
-- Каков каждый месяц против предыдущего?
SELECT month_start, count(*) AS calls, count(*) FILTER (WHERE outcome = 'answered') AS answered,
    count(*) - lag(count(*)) OVER (ORDER BY month_start) AS more_calls
FROM calls
WHERE date IS NOT NULL
GROUP BY month_start
ORDER BY month_start
