-- How long does it take until client and manager talk, by the hour of the call?
-- Сколько проходит, пока клиент и менеджер заговорят, по часу звонка?
SELECT hour, count(*) AS talks,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY answer_sec) AS median_sec,
    max(answer_sec) AS longest_sec
FROM calls
WHERE answer_sec IS NOT NULL
GROUP BY hour
ORDER BY hour
