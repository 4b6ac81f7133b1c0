-- Natural keys of a dimension in the batch whose rows are not known yet, in the order of the key.
SELECT {key} AS key{values}
FROM frame
WHERE {key} IS NOT NULL AND {key} NOT IN (SELECT key FROM known_{short})
GROUP BY {key}
ORDER BY {key}
