"""What the corrected description of the source asks for.

Days are marked as filled by the first reading of raw calls: they are filled again from these.
"""

from typing import Final

from alembic import op

revision: Final = "0007"
down_revision: Final = "0006"

_STATEMENTS: Final = (
    "ALTER TABLE callkeeper_days ADD COLUMN reading integer NOT NULL DEFAULT 1",
    "ALTER TABLE callkeeper_days ALTER COLUMN reading DROP DEFAULT",
    # What an auditor is shown of an erasure.
    """
    ALTER TABLE callkeeper_erasures
        ADD COLUMN reference text,
        ADD COLUMN number_hash text,
        ADD COLUMN verified_at timestamptz,
        ADD COLUMN left_over jsonb
    """,
)


def upgrade() -> None:
    """Change the tables."""
    for statement in _STATEMENTS:
        op.execute(statement)
