"""What a report is, as frozen records that were checked when they were read.

Add here what a user may say of a report; what it does is in `rows`, `structure` and `loading`.
Imports nothing heavy: the command line reads definitions at every start.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Final, Literal

from callkeeper_assets.warehouse.filters import Filter

ColumnType = Literal[
    "bigint",
    "integer",
    "numeric",
    "double",
    "boolean",
    "text",
    "date",
    "timestamp",
    "jsonb",
]
OnNewField = Literal["ignore", "warn", "fail"]

# Goes into each definition's digest: a rule of `values` or `rows` that changes makes every day of
# every report one to build again.
_RULES: Final = 1


@dataclass(frozen=True)
class ReportColumn:
    """One column of a user's table.

    Attributes:
        path: JMESPath.
        is_parent: the path goes into the call, not into the element that is the row.
    """

    name: str
    path: str
    type: ColumnType
    is_parent: bool = False


@dataclass(frozen=True)
class ReportTable:
    """One table that a report fills.

    Attributes:
        rows: JMESPath of the elements that are its rows; None makes each call one row.
        key: names of columns, beside `account_id`.
    """

    name: str
    key: tuple[str, ...]
    columns: tuple[ReportColumn, ...]
    rows: str | None = None

    @property
    def form(self) -> dict[str, str]:
        """What reports that fill this table must agree on: types by column, and the key."""
        types = {column.name: column.type for column in self.columns}
        return {**types, "the key": ", ".join(sorted(self.key))}


@dataclass(frozen=True)
class Report:
    """One report of a source.

    Attributes:
        fields: name in the JSON row, and the path of its value.
        structure: the tables; empty means JSON rows in callkeeper_reports.
        filters: over the columns of calls and facts, and documented paths; all must hold.
        cron: when it is refreshed, in the source's time zone.
        overlap_days: days before today that are then built again, changed or not.
    """

    name: str
    fields: tuple[tuple[str, str], ...] = ()
    structure: tuple[ReportTable, ...] = ()
    filters: tuple[Filter, ...] = ()
    on_new_field: OnNewField = "warn"
    cron: str = "30 5 * * *"
    overlap_days: int = 3

    @property
    def digest(self) -> str:
        """A text that changes with whatever changes the report's rows."""
        parts = (
            _RULES,
            self.fields if not self.structure else (),
            [
                [table.name, table.rows, table.key]
                + [[c.name, c.path, c.type, c.is_parent] for c in table.columns]
                for table in self.structure
            ],
            [[one.field, one.op, one.value] for one in self.filters],
        )
        text = json.dumps(parts, ensure_ascii=False, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]
