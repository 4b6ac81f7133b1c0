-- Minutes of the batch whose rows in general_dates are not known yet.
SELECT DISTINCT dates_id AS id
FROM frame
WHERE dates_id <> 1 AND dates_id NOT IN (SELECT id FROM known_dates)
