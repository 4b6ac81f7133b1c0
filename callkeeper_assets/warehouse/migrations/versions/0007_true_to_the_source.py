"""The webhooks' side of being true to the source: repeats that wait, hints, what was not audited.

Repeats that are there are settled: the source's own record has replaced what they told. Of the
days audited so far, those on which webhooks were listed are known; the others tell when they are
audited next.
"""

from typing import Final

from alembic import op

revision: Final = "0007"
down_revision: Final = "0006"

_STATEMENTS: Final = (
    # In this order, existing rows are settled without being rewritten, and new ones wait.
    "ALTER TABLE callkeeper_webhook_repeats ADD COLUMN is_waiting boolean NOT NULL DEFAULT false",
    "ALTER TABLE callkeeper_webhook_repeats ALTER COLUMN is_waiting SET DEFAULT true",
    """
    CREATE INDEX callkeeper_webhook_repeats_waiting ON callkeeper_webhook_repeats
    (account_id, webhook_id) WHERE is_waiting
    """,
    """
    CREATE TABLE callkeeper_webhook_hints (
        account_id integer NOT NULL,
        day date NOT NULL,
        hinted_at timestamptz NOT NULL,
        PRIMARY KEY (account_id, day)
    )
    """,
    "CREATE INDEX callkeeper_webhook_hints_at ON callkeeper_webhook_hints (hinted_at)",
    "ALTER TABLE callkeeper_webhook_days ADD COLUMN is_listed boolean",
    "UPDATE callkeeper_webhook_days SET is_listed = true WHERE sent > 0",
)


def upgrade() -> None:
    """Change the tables of the inbox and of the audit."""
    for statement in _STATEMENTS:
        op.execute(statement)
