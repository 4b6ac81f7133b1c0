"""A column for the managers' numbers where a call has several.

Stored calls get theirs when their days are read again from raw calls.
"""

from typing import Final

from alembic import op

revision: Final = "0007"
down_revision: Final = "0006"

_STATEMENTS: Final = ("ALTER TABLE callkeeper_calls ADD COLUMN manager_phones text",)


def upgrade() -> None:
    """Add what the tables could not hold."""
    for statement in _STATEMENTS:
        op.execute(statement)
