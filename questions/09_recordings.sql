-- Of which share of each manager's talks is there a recording?
-- У какой доли разговоров каждого менеджера есть запись?
SELECT manager, count(*) AS talks, count(*) FILTER (WHERE has_recording) AS recorded,
    round(100.0 * count(*) FILTER (WHERE has_recording) / count(*), 1) AS recorded_share
FROM calls
WHERE outcome = 'answered'
GROUP BY manager
ORDER BY recorded_share, manager
