-- By day: facts of the account whose {column} finds no row of {target}, with a sample of call ids.
-- A fact's day is its call's; where the call itself is missing, its minute's.
WITH days AS (
    SELECT * FROM unnest(%(days)s::date[], %(starts)s::timestamptz[], %(ends)s::timestamptz[])
        AS d (day, starts_at, ends_at)
),
facts AS (
    SELECT days.day, c.call_id, f.*
    FROM days
    JOIN callkeeper_calls AS c
        ON c.account_id = %(account_id)s
        AND c.called_at >= days.starts_at AND c.called_at < days.ends_at
    -- By their key, as in inspect_days.sql.
    JOIN LATERAL (
        SELECT * FROM callkeeper_calls_facts AS f
        WHERE f.account_id = c.account_id AND f.calls_id = c.id
        OFFSET 0
    ) AS f ON true
    UNION ALL
    SELECT date '1970-01-01' + f.dates_id / 1440, NULL, f.*
    FROM callkeeper_calls_facts AS f
    WHERE f.account_id = %(account_id)s
        AND f.dates_id >= (%(first)s - date '1970-01-01') * 1440
        AND f.dates_id < (%(last)s + 1 - date '1970-01-01') * 1440
        AND NOT EXISTS (
            SELECT FROM callkeeper_calls AS c
            WHERE c.account_id = f.account_id AND c.id = f.calls_id
        )
)
SELECT day, count(*), (array_agg(coalesce(call_id, calls_id) ORDER BY call_id))[1:10]
FROM facts
WHERE NOT EXISTS (
    SELECT FROM {target} AS t WHERE t.{target_column} = facts.{column} {same_account}
)
GROUP BY day
ORDER BY day
