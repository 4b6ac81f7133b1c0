"""The views `calls` and `звонки` reckon a call's date from its minute.

`migrate` makes the views after its migrations, from their declaration.
"""

from typing import Final

revision: Final = "0013"
down_revision: Final = "0012"


def upgrade() -> None:
    """Leave the tables as they are: the views alone are made anew."""
