"""Which receivers of webhooks there are, so that what waits on another machine is known of."""

from typing import Final

from alembic import op

revision: Final = "0011"
down_revision: Final = "0010"

_STATEMENTS: Final = (
    """
    CREATE TABLE callkeeper_receivers (
        receiver_id text PRIMARY KEY,
        host text NOT NULL,
        process integer NOT NULL,
        seen_at timestamptz NOT NULL,
        spool_files integer NOT NULL
    )
    """,
)


def upgrade() -> None:
    """Make the table."""
    for statement in _STATEMENTS:
        op.execute(statement)
