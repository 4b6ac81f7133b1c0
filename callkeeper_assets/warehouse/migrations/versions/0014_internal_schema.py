"""What people do not read goes into a schema of its own, `callkeeper_internal`; rights go along.

Names without a schema go on being found: by the program's connections, and by the owner's.
"""

from typing import Final

from alembic import op

from callkeeper_assets.postgres.schemas import LET_OWNER_FIND

revision: Final = "0014"
down_revision: Final = "0013"

_TABLES: Final = (
    "callkeeper_alembic_version",
    "callkeeper_loads",
    "callkeeper_days",
    "callkeeper_webhooks",
    "callkeeper_webhook_repeats",
    "callkeeper_webhook_hints",
    "callkeeper_webhook_days",
    "callkeeper_lost_webhooks",
    "callkeeper_rejects",
    "callkeeper_report_tables",
    "callkeeper_report_days",
    "callkeeper_report_fields",
    "callkeeper_forgotten_calls",
    "callkeeper_erasures",
    "callkeeper_privacy_settings",
    "callkeeper_keys",
    "callkeeper_alerts",
    "callkeeper_alert_messages",
    "callkeeper_receivers",
)
# An administrator may have made it, for a user who may make none: IF NOT EXISTS would be refused.
_MAKE: Final = """
    DO $do$ BEGIN
        IF to_regnamespace('callkeeper_internal') IS NULL THEN
            CREATE SCHEMA callkeeper_internal;
        END IF;
    END $do$
"""
# To whoever has any right of a table, PUBLIC as well, or owns it ('o'): one who migrates for them
# may be another, and leaves the schema to their owner, who lets in others.
_LET_IN: Final = """
    DO $do$ DECLARE each record; BEGIN
        FOR each IN
            SELECT DISTINCT d.refobjid::regrole::text AS role, d.deptype = 'o' AS is_owner
            FROM pg_shdepend AS d JOIN pg_class AS c ON c.oid = d.objid
            WHERE d.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
                AND d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_authid'::regclass
                AND d.deptype IN ('o', 'a')
                AND c.relnamespace = 'callkeeper_internal'::regnamespace
            UNION
            SELECT 'PUBLIC', false
            FROM pg_class AS c CROSS JOIN aclexplode(c.relacl) AS one
            WHERE c.relnamespace = 'callkeeper_internal'::regnamespace AND one.grantee = 0
        LOOP
            EXECUTE format(
                'GRANT %s ON SCHEMA callkeeper_internal TO %s',
                CASE WHEN each.is_owner THEN 'ALL' ELSE 'USAGE' END, each.role
            );
        END LOOP;
        BEGIN
            EXECUTE format('ALTER SCHEMA callkeeper_internal OWNER TO %s', (
                SELECT relowner::regrole FROM pg_class
                WHERE oid = 'callkeeper_internal.callkeeper_loads'::regclass
            ));
        EXCEPTION WHEN insufficient_privilege THEN
            NULL;
        END;
    END $do$
"""


def upgrade() -> None:
    """Move the tables, Alembic's own among them, with their sequences and indexes."""
    op.execute(_MAKE)
    for table in _TABLES:
        op.execute(f"ALTER TABLE {table} SET SCHEMA callkeeper_internal")
    op.execute(_LET_IN)
    op.execute(LET_OWNER_FIND)
