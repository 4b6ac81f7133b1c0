-- Minutes of the batch, and hours of its days, whose rows in general_dates are not known yet.
SELECT id
FROM (SELECT dates_id AS id FROM frame WHERE dates_id <> 1 UNION SELECT id FROM hours)
WHERE id NOT IN (SELECT id FROM known_dates)
