"""Personal data: calls whose client was forgotten, requests to forget, settings in force.

Each is asked by account; a load asks once which calls are forgotten, a receiver which are new.
"""

from typing import Final

from alembic import op

revision: Final = "0005"
down_revision: Final = "0004"

_STATEMENTS: Final = (
    """
    CREATE TABLE callkeeper_forgotten_calls (
        account_id integer NOT NULL,
        call_id bigint NOT NULL,
        scope text NOT NULL,
        day date,
        request_id text NOT NULL,
        forgotten_at timestamptz NOT NULL,
        PRIMARY KEY (account_id, call_id)
    )
    """,
    "CREATE INDEX callkeeper_forgotten_calls_at ON callkeeper_forgotten_calls (forgotten_at)",
    """
    CREATE TABLE callkeeper_erasures (
        account_id integer NOT NULL,
        request_id text NOT NULL,
        requested_at timestamptz NOT NULL,
        finished_at timestamptz,
        found jsonb NOT NULL,
        PRIMARY KEY (account_id, request_id)
    )
    """,
    """
    CREATE TABLE callkeeper_privacy_settings (
        account_id integer NOT NULL,
        used_from timestamptz NOT NULL,
        setting text NOT NULL,
        applied_at timestamptz,
        PRIMARY KEY (account_id, used_from)
    )
    """,
)


def upgrade() -> None:
    """Create the tables."""
    for statement in _STATEMENTS:
        op.execute(statement)
