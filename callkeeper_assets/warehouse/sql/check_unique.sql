-- By day: values of {key} that more than one row of {table} of the account has, with a sample.
WITH days AS (
    SELECT * FROM unnest(%(days)s::date[], %(starts)s::timestamptz[], %(ends)s::timestamptz[])
        AS d (day, starts_at, ends_at)
),
repeated AS (
    SELECT t.{key} AS value, min(days.day) AS day
    FROM days
    JOIN callkeeper_calls AS c
        ON c.account_id = %(account_id)s
        AND c.called_at >= days.starts_at AND c.called_at < days.ends_at
    JOIN {table} AS t ON t.account_id = c.account_id AND t.{key} = c.{call_key}
    GROUP BY t.{key}, c.ctid
    HAVING count(*) > 1
)
SELECT day, count(DISTINCT value), (array_agg(DISTINCT value))[1:10]
FROM repeated
GROUP BY day
ORDER BY day
