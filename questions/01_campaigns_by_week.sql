-- Which campaigns bring calls, week by week, and how many become a talk?
-- Какие кампании приносят звонки, по неделям, и сколько из них становятся разговором?
SELECT week_start, campaign, count(*) AS calls,
    count(*) FILTER (WHERE outcome = 'answered') AS answered
FROM calls
WHERE campaign IS NOT NULL
GROUP BY week_start, campaign
ORDER BY week_start, calls DESC, campaign
