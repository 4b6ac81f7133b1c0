"""A source's choice: the tables it loads, and the calls its filters let pass (DuckDB's SQL)."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from difflib import get_close_matches
from typing import Final, Literal, get_args
from zoneinfo import ZoneInfo

from callkeeper_assets.local_time import day_start
from callkeeper_assets.privacy.numbers import hide_numbers
from callkeeper_assets.raw.fields import FIELDS_BY_PATH
from callkeeper_assets.warehouse.records import FilterError
from callkeeper_assets.warehouse.schema import ACCOUNTS, CALLS, DATES, DIMENSIONS, FACTS
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

# A moment is on the time line; a clock's time says nothing of its zone.
FilterKind = Literal["number", "text", "boolean", "date", "moment", "clock", "raw"]

_SYMBOLS: Final[Mapping[str, str]] = {
    "eq": "=",
    "ne": "IS DISTINCT FROM",
    "lt": "<",
    "le": "<=",
    "gt": ">",
    "ge": ">=",
}
KINDS: Final[Mapping[ColumnType, FilterKind]] = {
    "smallint": "number",
    "integer": "number",
    "bigint": "number",
    "double precision": "number",
    "boolean": "boolean",
    "text": "text",
    "bytea": "text",
    "uuid": "text",
    "date": "date",
    "timestamp without time zone": "clock",
    "timestamp with time zone": "moment",
}
_WANTED: Final[Mapping[FilterKind, str]] = {
    "number": "a number",
    "text": "a text",
    "boolean": "true or false",
    "date": "a date (2026-01-31)",
    "moment": "a date or a time (2026-01-31 or 2026-01-31 12:00:00)",
    "clock": "a date or a time (2026-01-31 or 2026-01-31 12:00:00)",
    "raw": "a text or a number",
}
# What DuckDB compares exactly has 38 digits, ten of them a fraction; no field has as many.
_TOO_LARGE: Final = 10**28
# Days as the calendar's ends mean always and never; theirs have no bounds in UTC.
_FIRST_DAY: Final = date(2, 1, 1)
_LAST_DAY: Final = date(9998, 12, 31)
# Made by the load itself, so unknown when a filter is asked.
_UNFILTERED: Final = frozenset({"id", "account_id", "calls_id", "origin", "loaded_at"})


@dataclass(frozen=True)
class Filter:
    """One condition on a row; all conditions of a table must hold."""

    field: str
    op: FilterOp
    value: object = None


def describe_filters(filters: Sequence[Filter]) -> str:
    """Say for people which calls pass."""
    texts = (
        f"{one.field} {one.op}" + ("" if one.value is None else f" {one.value}") for one in filters
    )
    return " and ".join(texts) or "none: every call"


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


def _columns(table: str) -> dict[str, tuple[str, FilterKind]]:
    """Return what a filter of the table may name: column -> its name in a call's row, its kind."""
    sources = (CALLS, FACTS) if table == FACTS else (table,)
    return {
        name: (value, KINDS[TABLES[source].column(name).type])
        for source in sources
        for name, value in _own_columns(source).items()
    }


def _fits(value: object, kind: FilterKind) -> bool:
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


def _is_moment(text: str, kind: FilterKind) -> bool:
    try:
        if kind == "date":
            date.fromisoformat(text)
        else:
            datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _show(value: object) -> str:
    """Return a wrong value for an error, but nothing that could be a phone number."""
    shown = hide_numbers(repr(value))
    return f"the number {shown}: put it in quotes" if type(value) is int else shown


def _list_problem(f: Filter, kind: FilterKind) -> str | None:
    if not isinstance(f.value, list | tuple) or not f.value:
        return f"{f.op} takes a list of at least one value"
    for value in f.value:
        if value is None:
            return "a value of the list is empty; for a missing one use is_null or not_null"
        if not _fits(value, kind):
            return f"each value has to be {_WANTED[kind]}, not {_show(value)}"
    return None


def find_operand_problem(f: Filter, kind: FilterKind) -> str | None:
    """Say what is wrong with a filter's value, or nothing."""
    if f.op in {"is_null", "not_null"}:
        return None if f.value is None else f"{f.op} takes no value"
    if f.op in {"in", "not_in"}:
        return _list_problem(f, kind)
    if f.op in {"contains", "starts_with"}:
        wanted = "text only" if kind not in {"text", "raw"} else "a text"
        is_right = wanted == "a text" and isinstance(f.value, str)
        return None if is_right else f"{f.op} works on {wanted}, not {_show(f.value)}"
    if f.value is None:
        return f"{f.op} takes a value: {_WANTED[kind]}; for a missing one use is_null"
    return None if _fits(f.value, kind) else f"it has to be {_WANTED[kind]}, not {_show(f.value)}"


def _list_values_of(table: str, name: str) -> tuple[str, ...]:
    sources = (CALLS, FACTS) if table == FACTS else (table,)
    return next(TABLES[one].column(name).values for one in sources if name in _own_columns(one))


def _find_value_problem(f: Filter, closed: Sequence[str]) -> str | None:
    """Say which value no row can have: no call, or every call, would pass without a word."""
    if not closed or f.value is None:
        return None
    for value in map(str, _list_values(f)):
        if f.op in {"contains", "starts_with"}:
            is_known = any(
                one.startswith(value) if f.op == "starts_with" else value in one for one in closed
            )
        else:
            is_known = value in closed
        if not is_known:
            close = get_close_matches(value.lower(), closed, n=1)
            hint = f" Did you mean {close[0]}?" if close else ""
            return f"it is never {_show(value)}.{hint} Allowed are: {', '.join(closed)}"
    return None


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
    if table not in SELECTABLE_TABLES or table == ACCOUNTS:
        allowed = [name for name in SELECTABLE_TABLES if name != ACCOUNTS]
        raise FilterError(f"{table!r} cannot be filtered. Allowed are: {', '.join(allowed)}.")
    columns = _columns(table)
    closed: tuple[str, ...] = ()
    if f.field in columns:
        kind = columns[f.field][1]
        closed = _list_values_of(table, f.field)
    elif f.field in FIELDS_BY_PATH:
        kind = "raw"
    else:
        raise _unknown_field(table, f, columns)
    if f.op not in get_args(FilterOp):
        ops = ", ".join(get_args(FilterOp))
        raise FilterError(f"A filter of {table} has the op {f.op!r}. Allowed are: {ops}.")
    problem = find_operand_problem(f, kind) or _find_value_problem(f, closed)
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


def _read_number(value: object) -> object:
    """Return a number as DuckDB compares it exactly; another value as it is."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return Decimal(str(value)) if is_number else value


def _read_day(value: object) -> date | None:
    """Return the day, if a value is one and no time."""
    if isinstance(value, str):
        try:
            return date.fromisoformat(value)
        except ValueError:
            return None
    return value if isinstance(value, date) and not isinstance(value, datetime) else None


def _read_time(value: object, kind: FilterKind, zone: ZoneInfo) -> datetime:
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    if kind == "clock" and not moment.tzinfo:
        return moment
    try:
        if kind == "clock":
            return moment.astimezone(zone).replace(tzinfo=None)
        return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)
    except OverflowError:
        # At an end of the calendar, written to mean never or always: some hours do not matter.
        return moment.replace(tzinfo=None if kind == "clock" else UTC)


def _begin(day: date, kind: FilterKind, zone: ZoneInfo) -> datetime:
    return day_start(day, zone) if kind == "moment" else datetime.combine(day, time.min)


def _compare_time(
    expression: str, op: FilterOp, value: object, kind: FilterKind, zone: ZoneInfo
) -> Condition:
    """Hold a moment, or a clock's time, against a day or a time, by eq, lt, le, gt or ge."""
    day = _read_day(value)
    if day is None:
        return Condition(f"{expression} {_SYMBOLS[op]} ?", (_read_time(value, kind, zone),))
    day = min(max(day, _FIRST_DAY), _LAST_DAY)
    start, end = (_begin(one, kind, zone) for one in (day, day + timedelta(days=1)))
    match op:
        case "lt" | "ge":
            return Condition(f"{expression} {_SYMBOLS[op]} ?", (start,))
        case "le":
            return Condition(f"{expression} < ?", (end,))
        case "gt":
            return Condition(f"{expression} >= ?", (end,))
        case _:
            return Condition(f"({expression} >= ? AND {expression} < ?)", (start, end))


def _build_on_time(
    f: Filter, expression: str, kind: FilterKind, zone: ZoneInfo, values: tuple[object, ...]
) -> Condition:
    op: FilterOp = "eq" if f.op in {"ne", "in", "not_in"} else f.op
    parts = [_compare_time(expression, op, value, kind, zone) for value in values]
    sql = f"coalesce({' OR '.join(part.sql for part in parts)}, false)"
    bound = tuple(each for part in parts for each in part.values)
    return Condition(f"NOT {sql}" if f.op in {"ne", "not_in"} else sql, bound)


def _build_one(table: str, f: Filter, zone: ZoneInfo) -> Condition:
    column = _columns(table).get(f.field)
    if column is None:
        return _build_raw(f)
    name, kind = column
    return build_comparison(f, f'"{name}"', kind, zone)


def _build_raw(f: Filter) -> Condition:
    """Compare a raw field: as a number only where all values are numbers."""
    expression = f'"raw_{FIELDS_BY_PATH[f.field].name}"'
    values = _list_values(f)
    if any(isinstance(value, str) for value in values):
        return _compare(f.op, expression, tuple(str(value) for value in values))
    if f.value is not None:
        expression = f"try_cast({expression} AS DECIMAL(38, 10))"
    return _compare(f.op, expression, tuple(_read_number(value) for value in values))


def _list_values(f: Filter) -> tuple[object, ...]:
    return tuple(f.value) if isinstance(f.value, list | tuple) else (f.value,)


def build_comparison(f: Filter, expression: str, kind: FilterKind, zone: ZoneInfo) -> Condition:
    """Hold an expression of a kind against a filter's values; as PostgreSQL reads it, too."""
    values = _list_values(f)
    if kind in {"moment", "clock"} and f.value is not None:
        return _build_on_time(f, expression, kind, zone, values)
    values = tuple((_read_day(v) or v) if kind == "date" else _read_number(v) for v in values)
    return _compare(f.op, expression, values)


def _compare(op: FilterOp, expression: str, values: tuple[object, ...]) -> Condition:
    match op:
        case "is_null":
            return Condition(f"{expression} IS NULL")
        case "not_null":
            return Condition(f"{expression} IS NOT NULL")
        case "contains":
            return Condition(f"coalesce(strpos({expression}, ?) > 0, false)", values)
        case "starts_with":
            return Condition(f"coalesce(starts_with({expression}, ?), false)", values)
        case "in" | "not_in":
            listed = f"coalesce({expression} IN ({', '.join('?' * len(values))}), false)"
            return Condition(listed if op == "in" else f"NOT {listed}", values)
        case _:
            return Condition(f"coalesce({expression} {_SYMBOLS[op]} ?, false)", values)


def build_condition(table: str, filters: Sequence[Filter], zone: ZoneInfo) -> Condition:
    """Return the condition under which a transformed call passes the table's filters.

    Args:
        table: The table.
        filters: All must hold.
        zone: The source's, whose days and clock they mean.

    Raises:
        FilterError: as `check_filter`.
    """
    for f in filters:
        check_filter(table, f)
    parts = [_build_one(table, f, zone) for f in filters]
    return Condition(
        " AND ".join(part.sql for part in parts) or "true",
        tuple(value for part in parts for value in part.values),
    )


def order_selection(tables: Collection[str]) -> tuple[str, ...]:
    """Return the tables to load, in declared order, general_accounts among them.

    That they exist and go together is the configuration's to see to.
    """
    chosen = {*tables, ACCOUNTS}
    return tuple(name for name in SELECTABLE_TABLES if name in chosen)
