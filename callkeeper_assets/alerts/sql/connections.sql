-- How many connections the server has, and how many it gives to ordinary roles.
SELECT
    (SELECT sum(numbackends)::int FROM pg_stat_database),
    current_setting('max_connections')::int
    - current_setting('superuser_reserved_connections')::int
    - coalesce(current_setting('reserved_connections', true)::int, 0)
