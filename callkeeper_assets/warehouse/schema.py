"""What a table and a column are, as typed data.

The tables themselves are declared in `star` and `log_tables`; migrations, the loader, checks and
the data dictionary read them. Knows nothing of a database connection.
"""

from dataclasses import dataclass
from typing import Final, Literal

from callkeeper_assets.postgres.schemas import INTERNAL, PUBLIC

ColumnType = Literal[
    "smallint",
    "integer",
    "bigint",
    "double precision",
    "boolean",
    "text",
    "bytea",
    "uuid",
    "date",
    "timestamp without time zone",
    "timestamp with time zone",
    "jsonb",
]
# A placeholder is empty: others expect it.
TableRole = Literal["dimension", "fact", "report", "finding", "log", "inbox", "placeholder"]
# What people read, and roles for BI may; the rest is the product's own.
_FOR_READERS: Final[frozenset[TableRole]] = frozenset(
    ("dimension", "fact", "report", "finding", "placeholder")
)


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        type: PostgreSQL's own name of the type, as `format_type` gives it.
        references: table and column whose values this one's are, as `table.column`; enforced by no
            constraint (`foreign_keys`), proved by the checks.
        is_internal: for the loader alone, of no use to a report.
        values: All that it may hold beside NULL, where that is a closed set; empty where it is not.
    """

    name: str
    type: ColumnType
    description: str
    unit: str | None = None
    nullable: bool = True
    references: str | None = None
    is_internal: bool = False
    values: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """One table: its grain, its key and its columns in order."""

    name: str
    role: TableRole
    grain: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    description: str

    @property
    def schema(self) -> str:
        """The database's schema that has it."""
        return PUBLIC if self.role in _FOR_READERS else INTERNAL

    @property
    def column_names(self) -> tuple[str, ...]:
        """The columns' names, in order."""
        return tuple(column.name for column in self.columns)

    def column(self, name: str) -> Column:
        """Return the column of this name.

        Raises:
            KeyError: the table has none.
        """
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(f"{self.name} has no column {name}")


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
WEBHOOKS: Final = "callkeeper_webhooks"
UNKNOWN_ID: Final = 1
