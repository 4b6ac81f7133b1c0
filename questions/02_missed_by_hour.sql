-- When do managers miss calls, by weekday and hour?
-- Когда менеджеры пропускают звонки, по дням недели и часам?
SELECT weekday, hour, count(*) AS missed
FROM calls
WHERE outcome = 'missed_by_manager'
GROUP BY weekday, hour
ORDER BY weekday, hour
