-- How many calls come after hours (outside of 9 to 19, and at the weekend), and who is lost?
-- Сколько звонков приходит в нерабочее время (не с 9 до 19 и в выходные), и кто теряется?
SELECT weekday, weekday_name, count(*) AS calls,
    count(*) FILTER (WHERE outcome IN ('missed_by_manager', 'missed_by_client')) AS missed
FROM calls
WHERE weekday > 5 OR hour NOT BETWEEN 9 AND 18
GROUP BY weekday, weekday_name
ORDER BY weekday
