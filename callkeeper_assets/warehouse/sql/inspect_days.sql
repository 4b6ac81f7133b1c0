-- By day, in one pass: calls of the account that the source has told of, those of them that have
-- facts, how many facts of all calls are of a minute of the days, and how many find no row by each
-- key. Days without any are left out.
--
-- Facts are sought by their key, call by call, and kept: an account that the server has no statistics
-- of yet is taken for empty, and all its facts would be read again for each call.
WITH f AS MATERIALIZED (
    SELECT c.called_at, c.origin, found.*
    FROM callkeeper_calls AS c
    LEFT JOIN LATERAL (
        SELECT * FROM callkeeper_calls_facts AS f
        WHERE f.account_id = c.account_id AND f.calls_id = c.id
        OFFSET 0
    ) AS found ON true
    WHERE c.account_id = %(account_id)s
        AND c.called_at >= %(starts_at)s AND c.called_at < %(ends_at)s
)
SELECT
    (%(days)s::date[])[width_bucket(f.called_at, %(starts)s::timestamptz[])] AS day,
    count(*) FILTER (WHERE f.origin = 'api'),
    count(f.calls_id) FILTER (WHERE f.origin = 'api'),
    count(*) FILTER (WHERE f.dates_id >= %(first_minute)s AND f.dates_id < %(end_minute)s),
    {counts}
FROM f
{joins}
GROUP BY 1
