-- Whether each day of a source's period was loaded after a moment.
SELECT NOT EXISTS (
    SELECT
    FROM generate_series(%(first)s::date, %(last)s::date, interval '1 day') AS wanted (day)
    WHERE NOT EXISTS (
        SELECT
        FROM callkeeper_loads AS l
        JOIN general_accounts AS a ON a.account_id = l.account_id
        WHERE a.name = %(source)s AND l.day = wanted.day::date AND l.finished_at > %(since)s
            AND l.report IS NULL AND l.error IS NULL
    )
)
