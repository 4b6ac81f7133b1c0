-- Natural keys of a dimension in the batch whose rows are not known yet, in the order of the key,
-- each with the first day that has it.
SELECT {key} AS key, {key}::VARCHAR AS text, min(day) AS day{values}
FROM frame
WHERE {key} IS NOT NULL AND {key} NOT IN (SELECT key FROM known_{short})
GROUP BY {key}
ORDER BY {key}
