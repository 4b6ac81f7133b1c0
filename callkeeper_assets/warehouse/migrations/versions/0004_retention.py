"""Retention: when a webhook's call was, and a count of the times dimensions lost rows.

The inbox is deleted by the call's time, which only its body knows until it is processed. Loads
remember ids of dimensions' rows between batches, and forget them when the count has grown.
"""

from typing import Final

from alembic import op

revision: Final = "0004"
down_revision: Final = "0003"

_STATEMENTS: Final = (
    "ALTER TABLE callkeeper_webhooks ADD COLUMN called_at timestamptz",
    "CREATE SEQUENCE callkeeper_dimension_deletions",
    # A sequence shows its first value before and after it is first counted on.
    "SELECT nextval('callkeeper_dimension_deletions')",
)


def upgrade() -> None:
    """Add the column and the sequence."""
    for statement in _STATEMENTS:
        op.execute(statement)
