"""The dimensions that a load finds or makes rows in: which values of a call make a row.

The one declaration from which keys, inserts and filters of dimensions are built.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Dimension:
    """A dimension with a natural key, its values.

    Attributes:
        short: prefix of its columns in `sql/transform.sql`, and of its key column in the facts.
        columns: those that a call fills; the others are always NULL.
    """

    table: str
    short: str
    columns: tuple[str, ...]

    @property
    def values(self) -> tuple[str, ...]:
        """Names of the columns in `sql/transform.sql`."""
        return tuple(f"{self.short}_{column}" for column in self.columns)

    @property
    def key(self) -> str:
        """Name of the natural key's hash in a transformed call; NULL means unknown."""
        return f"{self.short}_key"

    @property
    def fact_column(self) -> str:
        """The facts' column that holds the row's id."""
        return f"{self.short}_id"


DIMENSIONS: Final = (
    Dimension("general_clientids", "clientids", ("clientid", "userid", "phone")),
    Dimension(
        "general_traffic",
        "traffic",
        ("grouping", "source", "medium", "campaign", "content", "keyword", "landing_page"),
    ),
    Dimension("general_sites", "sites", ("domain",)),
    Dimension("general_locations", "locations", ("country_iso", "country", "region", "city")),
)
DATES: Final = "general_dates"
CALLS: Final = "callkeeper_calls"
FACTS: Final = "callkeeper_calls_facts"
ACCOUNTS: Final = "general_accounts"
UNKNOWN_ID: Final = 1
