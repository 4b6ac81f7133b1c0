SELECT city,
       count(*) AS calls,
       round(100.0 * count(*) FILTER (WHERE outcome = 'answered') / count(*)) AS answered_percent,
       round(avg(talk_sec) FILTER (WHERE outcome = 'answered')) AS mean_talk_sec
FROM calls
WHERE city IS NOT NULL
GROUP BY city
ORDER BY calls DESC
LIMIT 5
