"""The service of each call, and the audit of webhooks.

Calls that are there already were callbacks: the default fills them in without rewriting the table,
and goes. Lost webhooks are asked by account and day, or counted while they are lost.
"""

from typing import Final

from alembic import op

revision: Final = "0006"
down_revision: Final = "0005"

_STATEMENTS: Final = (
    "ALTER TABLE callkeeper_calls ADD COLUMN service text DEFAULT 'callback'",
    "ALTER TABLE callkeeper_calls ALTER COLUMN service DROP DEFAULT",
    """
    CREATE TABLE callkeeper_webhook_days (
        account_id integer NOT NULL,
        day date NOT NULL,
        sent integer NOT NULL,
        lost integer NOT NULL,
        refused integer NOT NULL,
        audited_at timestamptz NOT NULL,
        run_id text NOT NULL,
        PRIMARY KEY (account_id, day)
    )
    """,
    """
    CREATE TABLE callkeeper_lost_webhooks (
        account_id integer NOT NULL,
        day date NOT NULL,
        call_id bigint NOT NULL,
        position integer NOT NULL,
        event text,
        method text,
        status integer,
        kind text NOT NULL,
        is_held boolean NOT NULL,
        found_at timestamptz NOT NULL,
        run_id text NOT NULL,
        PRIMARY KEY (account_id, day, call_id, position)
    )
    """,
    """
    CREATE INDEX callkeeper_lost_webhooks_call_id ON callkeeper_lost_webhooks (account_id, call_id)
    """,
)


def upgrade() -> None:
    """Name the services, and create the tables of the audit."""
    for statement in _STATEMENTS:
        op.execute(statement)
