"""Facts of a few days are found without reading those of all.

They come day by day, so that an index of ranges of blocks takes a few pages, and next to no time
when they are loaded.
"""

from typing import Final

from alembic import op

revision: Final = "0009"
down_revision: Final = "0008"


def upgrade() -> None:
    """Make the index."""
    op.execute(
        "CREATE INDEX callkeeper_calls_facts_dates ON callkeeper_calls_facts"
        " USING brin (dates_id) WITH (autosummarize = on)"
    )
