-- Whether each day of a source's period was asked for after a moment, and loaded: webhooks, retention and what is rebuilt from raw calls leave rows of a day, too.
SELECT NOT EXISTS (
    SELECT
    FROM generate_series(%(first)s::date, %(last)s::date, interval '1 day') AS wanted (day)
    WHERE NOT EXISTS (
        SELECT
        FROM callkeeper_loads AS l
        JOIN general_accounts AS a ON a.account_id = l.account_id
        WHERE a.name = %(source)s AND l.day = wanted.day::date AND l.fetched_at > %(since)s
            AND l.origin = 'api' AND l.report IS NULL AND l.error IS NULL
    )
)
