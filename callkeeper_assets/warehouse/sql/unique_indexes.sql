-- Tables that the search path finds and the sorted columns of each valid unique index.
SELECT c.relname, array_agg(a.attname::text ORDER BY a.attname)
FROM pg_index AS i
JOIN pg_class AS c ON c.oid = i.indrelid
JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = ANY(i.indkey)
WHERE i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
    AND pg_table_is_visible(c.oid)
GROUP BY c.relname, i.indexrelid
