"""The universal id of each call of the unified API, by which two calls of one hash are told apart.

What raw calls say of it is filled in by loading the days from them anew.
"""

from typing import Final

from alembic import op

revision: Final = "0007"
down_revision: Final = "0006"

_STATEMENTS: Final = ("ALTER TABLE callkeeper_calls ADD COLUMN universal_id text",)


def upgrade() -> None:
    """Add the column."""
    for statement in _STATEMENTS:
        op.execute(statement)
