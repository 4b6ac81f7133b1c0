-- Ids of {table} that more than one of its rows has, with a sample.
SELECT count(*), (array_agg(id ORDER BY id))[1:10]
FROM (SELECT id FROM {table} GROUP BY id HAVING count(*) > 1) AS repeated
