SELECT l.city,
       count(*) AS calls,
       round(100.0 * count(*) FILTER (WHERE c.status = 'success') / count(*)) AS success_percent,
       round(avg(f.duration2_sec) FILTER (WHERE c.status = 'success')) AS mean_talk_sec
FROM callkeeper_calls_facts AS f
JOIN callkeeper_calls AS c ON c.account_id = f.account_id AND c.id = f.calls_id
JOIN general_locations AS l ON l.id = f.locations_id
WHERE l.city IS NOT NULL
GROUP BY l.city
ORDER BY calls DESC
LIMIT 5
