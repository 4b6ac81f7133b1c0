"""Bodies of webhooks up to 8 KB stay in the inbox's rows, as they came.

PostgreSQL else compresses a row of more than 2 KB, or moves its body to a second table with an
index of its own: a fifth of what it costs to store a payload. Most are about that size.
"""

from typing import Final

from alembic import op

revision: Final = "0007"
down_revision: Final = "0006"

_STATEMENT: Final = "ALTER TABLE callkeeper_webhooks SET (toast_tuple_target = 8160)"


def upgrade() -> None:
    """Set it for what comes; what is there stays as it is."""
    op.execute(_STATEMENT)
