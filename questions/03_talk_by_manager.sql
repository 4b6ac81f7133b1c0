-- How much does each manager talk?
-- Сколько говорит каждый менеджер?
SELECT manager, count(*) AS talks, sum(talk_sec) AS talk_sec,
    round(avg(talk_sec), 1) AS mean_talk_sec
FROM calls
WHERE outcome = 'answered'
GROUP BY manager
ORDER BY talk_sec DESC, manager
