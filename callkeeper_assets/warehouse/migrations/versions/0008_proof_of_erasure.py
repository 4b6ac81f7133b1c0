"""What an auditor is shown of an erasure.

Earlier requests have none of it: nobody looked again, and the number is not known any more.
"""

from typing import Final

from alembic import op

revision: Final = "0008"
down_revision: Final = "0007"

_STATEMENTS: Final = (
    """
    ALTER TABLE callkeeper_erasures
        ADD COLUMN reference text,
        ADD COLUMN number_hash text,
        ADD COLUMN verified_at timestamptz,
        ADD COLUMN left_over jsonb
    """,
)


def upgrade() -> None:
    """Change the table."""
    for statement in _STATEMENTS:
        op.execute(statement)
