"""What a report is: frozen records, the names that it may use, and its errors."""

import hashlib
import json
import re
import unicodedata
from dataclasses import dataclass
from typing import Final, Literal

from callkeeper_assets.language import look_up, mark, tr
from callkeeper_assets.warehouse.filters import Filter
from callkeeper_assets.warehouse.records import WarehouseError

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

# PostgreSQL cuts longer identifiers off in silence.
_MOST_BYTES: Final = 63
_MOST_LETTERS_OF_REPORT: Final = 60
MOST_LETTERS_OF_FIELD: Final = 200

REPORT_NAME_PATTERN: Final = "^[a-z][a-z0-9_]*$"
_REPORT_NAME: Final = re.compile(REPORT_NAME_PATTERN)

# Of the warehouse, of Dagster, of PostgreSQL.
RESERVED_PREFIXES: Final = ("callkeeper_", "general_", "dagster", "pg_")
# The columns that every report's table has by itself.
ACCOUNT_COLUMN: Final = "account_id"
_OWN_COLUMN_PREFIX: Final = "callkeeper_"
_SYSTEM_COLUMNS: Final = frozenset({"ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"})

# Words of PostgreSQL that name no table or column without quotes: pg_get_keywords(), categories
# "reserved" and "reserved (can be function or type name)". A test compares it with the server's.
RESERVED_WORDS: Final = frozenset(
    """
    all analyse analyze and any array as asc asymmetric authorization binary both case cast
    check collate collation column concurrently constraint create cross current_catalog
    current_date current_role current_schema current_time current_timestamp current_user default
    deferrable desc distinct do else end except false fetch for foreign freeze from full grant
    group having ilike in initially inner intersect into is isnull join lateral leading left
    like limit localtime localtimestamp natural not notnull null offset on only or order outer
    overlaps placing primary references returning right select session_user similar some
    symmetric system_user table tablesample then to trailing true union unique user using
    variadic verbose when where window with
    """.split()  # noqa: SIM905 -- a word a line would be a hundred lines
)


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


def find_report_name_problem(name: str) -> str | None:
    """Say what is wrong with a report's name; None for a good one."""
    if _REPORT_NAME.fullmatch(name) and len(name) <= _MOST_LETTERS_OF_REPORT:
        return None
    return tr(
        "'{name}' cannot be a report's name: a lower-case Latin letter, then such letters, "
        "digits and '_', {most} at most.",
        name=_shorten(name),
        most=_MOST_LETTERS_OF_REPORT,
    )


def find_field_name_problem(name: str) -> str | None:
    """Say what is wrong with a field's name in a JSON row; None for a good one."""
    if not name.strip():
        return tr("a field's name is empty.")
    if len(name) > MOST_LETTERS_OF_FIELD:
        return tr(
            "'{name}' has {count} characters, a field's name at most {most}. Give it a short "
            "one: fields: {{name: path}}.",
            name=_shorten(name),
            count=len(name),
            most=MOST_LETTERS_OF_FIELD,
        )
    if not name.isprintable():
        return tr("{name} holds characters that cannot be printed.", name=_shorten(ascii(name)))
    return None


def find_table_name_problem(name: str) -> str | None:
    """Say what is wrong with a table's name; None for a good one."""
    problem = _find_identifier_problem(mark("table"), name)
    prefix = next((one for one in RESERVED_PREFIXES if name.startswith(one)), None)
    if problem is None and prefix is not None:
        return tr(
            "'{name}' begins with '{prefix}': such tables are not a report's. Choose another "
            "name, such as 'report_{name}'.",
            name=name,
            prefix=prefix,
        )
    return problem


def find_column_name_problem(name: str) -> str | None:
    """Say what is wrong with a column's name; None for a good one."""
    problem = _find_identifier_problem(mark("column"), name)
    if problem is None and (name == ACCOUNT_COLUMN or name.startswith(_OWN_COLUMN_PREFIX)):
        return tr(
            "'{name}' cannot be a column of a report: each of its tables has '{column}' and "
            "columns that begin with '{prefix}' by itself. Choose another name.",
            name=name,
            column=ACCOUNT_COLUMN,
            prefix=_OWN_COLUMN_PREFIX,
        )
    if problem is None and name in _SYSTEM_COLUMNS:
        return tr(
            "'{name}' is a column of PostgreSQL's own in every table. Choose another name.",
            name=name,
        )
    return problem


def _find_identifier_problem(what: str, name: str) -> str | None:
    size = len(name.encode("utf-8", "replace"))
    if size > _MOST_BYTES:
        return tr(
            "'{name}' has {size} bytes, a {what}'s name in PostgreSQL at most {most} (a Latin "
            "letter has one, a Cyrillic two).",
            name=_shorten(name),
            size=size,
            what=look_up(what),
            most=_MOST_BYTES,
        )
    is_word = name.isidentifier() and name == name.lower()
    if not is_word or not unicodedata.is_normalized("NFC", name):
        return tr(
            "'{name}' cannot be a {what}'s name: lower-case letters, digits and '_' are "
            "allowed, no digit at the beginning.",
            name=_shorten(name),
            what=look_up(what),
        )
    if name in RESERVED_WORDS:
        return tr(
            "'{name}' is a reserved word of SQL: each query would have to quote it. Choose "
            "another name, such as '{name}_'.",
            name=name,
        )
    return None


def _shorten(name: str) -> str:
    shown = name if len(name) <= MOST_LETTERS_OF_FIELD // 4 else f"{name[:40]}…"
    return shown if shown.isprintable() else ascii(shown)[1:-1]


class PathError(ValueError):
    """A path in `defs.yaml` that can never give a value."""


class StructureError(WarehouseError):
    """A report's table in the database is not what the report says, or is not a report's."""
