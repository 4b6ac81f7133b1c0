"""The two schemas that our tables are in, and the path by which names without one find both.

`public` has what people read; `callkeeper_internal` has the product's own. Which table is where
each table's declaration says (`warehouse.schema`).
"""

from typing import Final

PUBLIC: Final = "public"
# Not `callkeeper`: roles are called so, and PostgreSQL's own path begins with a role's namesake.
INTERNAL: Final = "callkeeper_internal"
# Of our connections: whatever somebody makes in `public` hides no table of the product's own. What
# is made there names it.
SEARCH_PATH: Final = f"{INTERNAL}, {PUBLIC}"

# For people at psql who are the tables' owner; a path that somebody has set stays as it is.
LET_OWNER_FIND: Final = f"""
    DO $do$ BEGIN
        IF NOT EXISTS (
            SELECT FROM pg_db_role_setting AS s CROSS JOIN unnest(s.setconfig) AS one
            WHERE s.setdatabase IN (0, (
                SELECT oid FROM pg_database WHERE datname = current_database()
            ))
                AND s.setrole IN (0, (SELECT oid FROM pg_roles WHERE rolname = current_user))
                AND starts_with(one, 'search_path=')
        ) THEN
            EXECUTE format(
                'ALTER ROLE CURRENT_USER IN DATABASE %I '
                'SET search_path = "$user", {PUBLIC}, {INTERNAL}',
                current_database()
            );
        END IF;
    EXCEPTION WHEN insufficient_privilege THEN
        NULL;
    END $do$
"""  # noqa: S608 -- constants
