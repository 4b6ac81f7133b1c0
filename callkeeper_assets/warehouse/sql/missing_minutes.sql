-- Minutes of the batch, and hours of its days, whose rows in general_dates are not known yet, each
-- with the first day on which somebody called then.
SELECT id, min(day) AS day
FROM (SELECT dates_id AS id, day FROM frame WHERE dates_id <> 1 UNION ALL SELECT id, NULL FROM hours)
WHERE id NOT IN (SELECT id FROM known_dates)
GROUP BY id
