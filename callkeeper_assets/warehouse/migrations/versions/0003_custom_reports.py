"""Custom reports: JSON rows, rejects, and the books of reports and their tables.

Each is asked by account, report and day; rows of a report in the load log name it.
"""

from typing import Final

from alembic import op

revision: Final = "0003"
down_revision: Final = "0002"

_STATEMENTS: Final = (
    """
    CREATE TABLE callkeeper_reports (
        account_id integer NOT NULL,
        report text NOT NULL,
        call_id bigint NOT NULL,
        called_at timestamptz NOT NULL,
        data jsonb NOT NULL,
        loaded_at timestamptz NOT NULL,
        day date NOT NULL,
        PRIMARY KEY (account_id, report, call_id)
    )
    """,
    "CREATE INDEX callkeeper_reports_day ON callkeeper_reports (account_id, day, report)",
    "CREATE INDEX callkeeper_reports_called_at ON callkeeper_reports (account_id, called_at)",
    """
    CREATE TABLE callkeeper_rejects (
        account_id integer NOT NULL,
        report text NOT NULL,
        day date NOT NULL,
        table_name text NOT NULL,
        call_id bigint NOT NULL,
        position integer NOT NULL,
        column_name text NOT NULL,
        value text,
        reason text NOT NULL,
        run_id text NOT NULL,
        PRIMARY KEY (account_id, report, day, table_name, call_id, position, column_name)
    )
    """,
    """
    CREATE TABLE callkeeper_report_tables (
        table_name text PRIMARY KEY,
        made_by text NOT NULL,
        made_at timestamptz NOT NULL
    )
    """,
    """
    CREATE TABLE callkeeper_report_days (
        account_id integer NOT NULL,
        report text NOT NULL,
        day date NOT NULL,
        definition text NOT NULL,
        calls integer NOT NULL,
        built_at timestamptz NOT NULL,
        PRIMARY KEY (account_id, report, day)
    )
    """,
    """
    CREATE TABLE callkeeper_report_fields (
        account_id integer NOT NULL,
        report text NOT NULL,
        field text NOT NULL,
        day date,
        PRIMARY KEY (account_id, report, field)
    )
    """,
    "ALTER TABLE callkeeper_loads ADD COLUMN report text",
)


def upgrade() -> None:
    """Create the tables, and name reports in the load log."""
    for statement in _STATEMENTS:
        op.execute(statement)
