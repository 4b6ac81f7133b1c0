"""One row a call, wide: the views `calls` and `звонки`, which follow their declaration."""

from typing import Final

revision: Final = "0012"
down_revision: Final = "0011"


def upgrade() -> None:
    """Nothing: `migrate` makes the views after its migrations."""
