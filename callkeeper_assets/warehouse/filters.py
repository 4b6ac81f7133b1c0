"""Filters of a source: what one is, whether it makes sense, and its condition in DuckDB's SQL.

A filter's field is a column of its table (for facts, of callkeeper_calls too: the same call), or
a path in the raw call. A missing value equals nothing: `ne` and `not_in` hold for it, every other
comparison does not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from difflib import get_close_matches
from typing import Final, Literal, get_args

from callkeeper_assets.warehouse.call_fields import FIELDS_BY_PATH
from callkeeper_assets.warehouse.dimensions import CALLS, DATES, DIMENSIONS, FACTS
from callkeeper_assets.warehouse.errors import FilterError
from callkeeper_assets.warehouse.tables import SELECTABLE_TABLES, TABLES, ColumnType

FilterOp = Literal[
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
    "in",
    "not_in",
    "contains",
    "starts_with",
    "is_null",
    "not_null",
]

Kind = Literal["number", "text", "boolean", "date", "moment", "raw"]

_SYMBOLS: Final[Mapping[str, str]] = {
    "eq": "=",
    "ne": "IS DISTINCT FROM",
    "lt": "<",
    "le": "<=",
    "gt": ">",
    "ge": ">=",
}
_KINDS: Final[Mapping[ColumnType, Kind]] = {
    "smallint": "number",
    "integer": "number",
    "bigint": "number",
    "double precision": "number",
    "boolean": "boolean",
    "text": "text",
    "bytea": "text",
    "uuid": "text",
    "date": "date",
    "timestamp without time zone": "moment",
    "timestamp with time zone": "moment",
}
_WANTED: Final[Mapping[Kind, str]] = {
    "number": "a number",
    "text": "a text",
    "boolean": "true or false",
    "date": "a date (2026-01-31)",
    "moment": "a date or a time (2026-01-31 or 2026-01-31 12:00:00)",
    "raw": "a text or a number",
}
# What DuckDB compares exactly has 38 digits, ten of them a fraction; no field has as many.
_TOO_LARGE: Final = 10**28
# Made by the load itself, so unknown when a filter is asked.
_UNFILTERED: Final = frozenset({"id", "account_id", "calls_id", "origin", "loaded_at"})


@dataclass(frozen=True)
class Filter:
    """One condition on a row; all conditions of a table must hold."""

    field: str
    op: FilterOp
    value: object = None


@dataclass(frozen=True)
class Condition:
    """A condition in DuckDB's SQL with `?` for each value."""

    sql: str
    values: tuple[object, ...] = ()


def _own_columns(table: str) -> dict[str, str]:
    """Return the table's columns that a filter may name, each with its name in a call's row."""
    for dimension in DIMENSIONS:
        if dimension.table == table:
            return dict(zip(dimension.columns, dimension.values, strict=True))
    if table not in {CALLS, FACTS, DATES}:
        return {}
    names = [n for n in TABLES[table].column_names if n not in _UNFILTERED]
    return {n: n for n in names if table != FACTS or not n.endswith("_id")}


def _columns(table: str) -> dict[str, tuple[str, Kind]]:
    """Return what a filter of the table may name: column -> its name in a call's row, its kind."""
    sources = (CALLS, FACTS) if table == FACTS else (table,)
    return {
        name: (value, _KINDS[TABLES[source].column(name).type])
        for source in sources
        for name, value in _own_columns(source).items()
    }


def _fits(value: object, kind: Kind) -> bool:
    if kind == "boolean" or isinstance(value, bool):
        return kind == "boolean" and isinstance(value, bool)
    match kind:
        case "number":
            return isinstance(value, int | float) and abs(value) < _TOO_LARGE
        case "text":
            return isinstance(value, str)
        case "raw":
            return isinstance(value, str) or _fits(value, "number")
        case _:
            return isinstance(value, date) or (isinstance(value, str) and _is_moment(value, kind))


def _is_moment(text: str, kind: Kind) -> bool:
    try:
        if kind == "date":
            date.fromisoformat(text)
        else:
            datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _list_problem(f: Filter, kind: Kind) -> str | None:
    if not isinstance(f.value, list | tuple) or not f.value:
        return f"{f.op} takes a list of at least one value"
    wrong = next((v for v in f.value if not _fits(v, kind)), None)
    return None if wrong is None else f"each value has to be {_WANTED[kind]}, not {wrong!r}"


def _operand_problem(f: Filter, kind: Kind) -> str | None:
    """Say what is wrong with a filter's value, or nothing."""
    if f.op in {"is_null", "not_null"}:
        return None if f.value is None else f"{f.op} takes no value"
    if f.op in {"in", "not_in"}:
        return _list_problem(f, kind)
    if f.op in {"contains", "starts_with"}:
        wanted = "text only" if kind not in {"text", "raw"} else "a text"
        is_right = wanted == "a text" and isinstance(f.value, str)
        return None if is_right else f"{f.op} works on {wanted}, not {f.value!r}"
    if f.value is None:
        return f"{f.op} takes a value: {_WANTED[kind]}; for a missing one use is_null"
    return None if _fits(f.value, kind) else f"it has to be {_WANTED[kind]}, not {f.value!r}"


def _unknown_field(table: str, f: Filter, columns: Mapping[str, object]) -> FilterError:
    known = [*columns, *FIELDS_BY_PATH]
    close = get_close_matches(f.field, known, n=3)
    hint = f" Did you mean {' or '.join(close)}?" if close else ""
    paths = sorted({field.paths[0] for field in FIELDS_BY_PATH.values()})
    return FilterError(
        f"A filter of {table} names the field {f.field!r}, which is neither its column nor a "
        f"field of the raw call.{hint} Allowed are its columns {', '.join(columns) or '(none)'}; "
        f"and in the raw call {', '.join(paths)}."
    )


def check_filter(table: str, f: Filter) -> None:
    """Refuse a filter that cannot be meant.

    Raises:
        FilterError: the table or field is unknown, or the value does not fit.
    """
    if table not in SELECTABLE_TABLES or table == "general_accounts":
        allowed = [name for name in SELECTABLE_TABLES if name != "general_accounts"]
        raise FilterError(f"{table!r} cannot be filtered. Allowed are: {', '.join(allowed)}.")
    columns = _columns(table)
    if f.field in columns:
        kind = columns[f.field][1]
    elif f.field in FIELDS_BY_PATH:
        kind = "raw"
    else:
        raise _unknown_field(table, f, columns)
    if f.op not in get_args(FilterOp):
        ops = ", ".join(get_args(FilterOp))
        raise FilterError(f"A filter of {table} has the op {f.op!r}. Allowed are: {ops}.")
    problem = _operand_problem(f, kind)
    if problem is not None:
        raise FilterError(f"The filter of {table} on {f.field} ({f.op}): {problem}.")


def is_column(table: str, f: Filter) -> bool:
    """Whether the filter's field is a column, not a path in the raw call."""
    return f.field in _columns(table)


def raw_field_names(filters: Mapping[str, Sequence[Filter]]) -> tuple[str, ...]:
    """Return the names of the raw fields that filters ask for, beside columns."""
    names = {
        FIELDS_BY_PATH[f.field].name
        for table, conditions in filters.items()
        for f in conditions
        if not is_column(table, f)
    }
    return tuple(sorted(names))


def _read_value(value: object, kind: Kind) -> object:
    """Return a value as DuckDB compares it: a number exactly, a time read by the rules here."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Decimal(str(value))
    if isinstance(value, str) and kind in {"date", "moment"}:
        return date.fromisoformat(value) if kind == "date" else datetime.fromisoformat(value)
    return value


def _build_raw_operand(f: Filter, values: tuple[object, ...]) -> tuple[str, tuple[object, ...]]:
    """Return a raw field's expression, and values to hold it against.

    It is compared as a number only where all of them are numbers.
    """
    expression = f'"raw_{FIELDS_BY_PATH[f.field].name}"'
    if any(isinstance(value, str) for value in values):
        return expression, tuple(str(value) for value in values)
    if f.value is not None:
        expression = f"try_cast({expression} AS DECIMAL(38, 10))"
    return expression, tuple(_read_value(value, "raw") for value in values)


def _build_one(table: str, f: Filter) -> Condition:
    values = tuple(f.value) if isinstance(f.value, list | tuple) else (f.value,)
    column = _columns(table).get(f.field)
    if column is None:
        expression, values = _build_raw_operand(f, values)
    else:
        expression = f'"{column[0]}"'
        values = tuple(_read_value(value, column[1]) for value in values)
    match f.op:
        case "is_null":
            return Condition(f"{expression} IS NULL")
        case "not_null":
            return Condition(f"{expression} IS NOT NULL")
        case "contains" | "starts_with":
            return Condition(f"coalesce({f.op}({expression}, ?), false)", values)
        case "in" | "not_in":
            listed = f"coalesce({expression} IN ({', '.join('?' * len(values))}), false)"
            return Condition(listed if f.op == "in" else f"NOT {listed}", values)
        case _:
            return Condition(f"coalesce({expression} {_SYMBOLS[f.op]} ?, false)", values)


def build_condition(table: str, filters: Sequence[Filter]) -> Condition:
    """Return the condition under which a transformed call passes the table's filters.

    Raises:
        FilterError: as `check_filter`.
    """
    for f in filters:
        check_filter(table, f)
    parts = [_build_one(table, f) for f in filters]
    return Condition(
        " AND ".join(part.sql for part in parts) or "true",
        tuple(value for part in parts for value in part.values),
    )
