"""What a frame of calls can hold: columns with people's names, their tables, filters on them.

A column is one of the warehouse's, whose type and description count. Only names that are declared
here go into a statement; values are written as PostgreSQL's literals by psycopg. They are no
parameters because PostgreSQL takes none in COPY, which is how rows come fast.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, get_args
from zoneinfo import ZoneInfo

import psycopg
from psycopg import sql

from callkeeper_assets.config.errors import capitalise, describe_unknown
from callkeeper_assets.warehouse.filters import (
    KINDS,
    Filter,
    FilterKind,
    FilterOp,
    build_comparison,
    find_operand_problem,
)
from callkeeper_assets.warehouse.schema import Column
from callkeeper_assets.warehouse.tables import TABLES

Where = Mapping[str, Any] | Sequence[Mapping[str, Any]]

# Each with its table, and the condition that finds its row: none for the unknown ones.
JOINS: Final[Mapping[str, tuple[str, str]]] = {
    "facts": (
        "callkeeper_calls_facts",
        "account_id = calls.account_id AND facts.calls_id = calls.id",
    ),
    "dates": ("general_dates", "id = facts.dates_id AND dates.id <> 1"),
    "sites": ("general_sites", "id = facts.sites_id AND sites.id <> 1"),
    "locations": ("general_locations", "id = facts.locations_id AND locations.id <> 1"),
    "traffic": ("general_traffic", "id = facts.traffic_id AND traffic.id <> 1"),
    "clients": ("general_clientids", "id = facts.clientids_id AND clients.id <> 1"),
}
_TABLES: Final = {
    "calls": "callkeeper_calls",
    "accounts": "general_accounts",
    **{alias: table for alias, (table, _) in JOINS.items()},
}
# The frame's columns, in its order.
COLUMNS: Final[Mapping[str, str]] = {
    "source": "accounts.name",
    "call_id": "calls.call_id",
    "called_at": "calls.called_at",
    "ordered_at": "calls.ordered_at",
    "day": "dates.simple_date",
    "weekday": "dates.weekday",
    "hour": "dates.hour",
    "status": "calls.status",
    "is_final": "calls.is_final",
    "duration_sec": "facts.duration_sec",
    "talk_sec": "facts.duration2_sec",
    "duration_min": "facts.duration_min",
    "talk_min": "facts.duration2_min",
    "attempt": "facts.attempt",
    "asr_attempts": "facts.asr_attempts",
    "playback_tick": "facts.playback_tick",
    "pages": "facts.pages",
    "visit": "facts.visit",
    "site": "sites.domain",
    "country_iso": "locations.country_iso",
    "country": "locations.country",
    "region": "locations.region",
    "city": "locations.city",
    "grouping": "traffic.grouping",
    "utm_source": "traffic.source",
    "utm_medium": "traffic.medium",
    "utm_campaign": "traffic.campaign",
    "utm_content": "traffic.content",
    "utm_term": "traffic.keyword",
    "landing_page": "traffic.landing_page",
    "first_grouping": "calls.first_grouping",
    "first_utm_source": "calls.first_source",
    "first_utm_medium": "calls.first_medium",
    "first_utm_campaign": "calls.first_campaign",
    "first_utm_content": "calls.first_content",
    "first_utm_term": "calls.first_keyword",
    "first_landing_page": "calls.first_landing_page",
    "first_referrer": "calls.first_referrer",
    "first_visit_at": "calls.first_visit_at",
    "clientid": "clients.clientid",
    "userid": "clients.userid",
    "client_phone": "calls.client_phone",
    "manager_phone": "calls.manager_phone",
    "manager_phones": "calls.manager_phones",
    "manager_extension": "calls.manager_extension",
    "widget_name": "calls.widget_name",
    "widget_hash": "calls.widget_hash",
    "connection_type": "calls.connection_type",
    "event_source": "calls.event_source",
    "service": "calls.service",
    "universal_id": "calls.universal_id",
    "page": "calls.page",
    "user_agent": "calls.user_agent",
    "ip": "calls.ip",
    "record_url": "calls.record_url",
    "tags": "calls.tags",
    "status_code": "calls.status_code",
    "status_reason": "calls.status_reason",
    "status2_code": "calls.status2_code",
    "status2_reason": "calls.status2_reason",
    "origin": "calls.origin",
    "loaded_at": "calls.loaded_at",
}

# In which calls come.
ORDER: Final = ("called_at", "call_id")

# For a session. Who owns the server may read its files and end others' work by a function of a
# SELECT; this role only reads tables. One without such rights stays what it is.
BECOME_READER: Final = """
    SELECT set_config('role', 'pg_read_all_data', false)
    FROM pg_roles WHERE rolname = current_user AND rolsuper
"""


class ReadingError(ValueError):
    """What was asked for cannot be read; the text says why, and what is allowed."""


class NothingLoadedError(ReadingError):
    """None of the days that were asked for is loaded."""


def find_column(name: str) -> Column:
    """Return the warehouse's column that a column of the frame is: its type and description.

    Raises:
        ReadingError: There is no column of this name.
    """
    if name not in COLUMNS:
        raise ReadingError(capitalise(describe_unknown("column", str(name), COLUMNS)))
    alias, _, column = COLUMNS[name].partition(".")
    return TABLES[_TABLES[alias]].column(column)


def choose_columns(columns: Iterable[str] | None) -> tuple[str, ...]:
    """Return the columns that were asked for in their order, or all.

    Raises:
        ReadingError: One is unknown or named twice, or none is named.
    """
    if columns is None:
        return tuple(COLUMNS)
    if isinstance(columns, str):
        raise ReadingError(f'columns takes a list of names: columns=["{columns}"].')
    names = tuple(columns)
    for name in names:
        find_column(name)
    if not names or len(set(names)) < len(names):
        raise ReadingError("columns takes a list of at least one name, each once.")
    return names


def _plain(value: Any) -> Any:  # noqa: ANN401 -- whatever a person compares with
    """Return Python's own value for one of NumPy's or pandas's; a list for what holds several."""
    if hasattr(value, "tolist"):
        return value.tolist()
    is_one = isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable)
    return value if is_one else list(value)


def _read_condition(name: str, condition: Any) -> list[Filter]:  # noqa: ANN401
    """Return what a mapping says of one column: a value, a list, None, or ops with values."""
    if isinstance(condition, Mapping):
        if not condition:
            raise ReadingError(f"where on {name}: it says nothing; leave it out for all calls.")
        filters = []
        for op, value in condition.items():
            if op in {"is_null", "not_null"}:
                if not isinstance(value, bool):
                    raise ReadingError(f"where on {name}: {op} takes True or False.")
                is_null = (op == "is_null") is value
                filters.append(Filter(name, "is_null" if is_null else "not_null"))
            else:
                filters.append(Filter(name, op, _plain(value)))
        return filters
    value = _plain(condition)
    if value is None:
        return [Filter(name, "is_null")]
    return [Filter(name, "in" if isinstance(value, list) else "eq", value)]


def read_where(where: Where | None) -> list[Filter]:
    """Return the filters that `where` says, all of which must hold.

    Args:
        where: By column a value, a list of which it must be one, None, or ops of `defs.yaml` with
            their values (`{"talk_sec": {"ge": 30}}`); or the list that `filters` of `defs.yaml` is.

    Raises:
        ReadingError: A column or op is unknown, or a value does not fit.
    """
    if where is None:
        return []
    if isinstance(where, Mapping):
        found = [each for name, one in where.items() for each in _read_condition(name, one)]
    elif isinstance(where, list | tuple):
        found = [_read_entry(entry) for entry in where]
    else:
        raise ReadingError(
            'where takes conditions by column, as {"status": "success", "talk_sec": {"ge": 30}}. '
            "For SQL there is ck.connect()."
        )
    for one in found:
        kind = KINDS[find_column(one.field).type]
        if one.op not in get_args(FilterOp):
            raise ReadingError(capitalise(describe_unknown("op", str(one.op), get_args(FilterOp))))
        problem = find_operand_problem(one, kind)
        if problem:
            raise ReadingError(f"where on {one.field} ({one.op}): {problem}.")
    return found


def _read_entry(entry: Mapping[str, Any]) -> Filter:
    try:
        return Filter(entry["field"], entry["op"], _plain(entry.get("value")))
    except (KeyError, TypeError, AttributeError):
        raise ReadingError(
            'An entry of where is {"field": …, "op": …, "value": …}, as in defs.yaml.'
        ) from None


def write_literal(value: object) -> str:
    """Return a value as PostgreSQL reads it in a statement.

    Raises:
        ReadingError: PostgreSQL has no such value: a text with a zero byte, or half a letter.
    """
    try:
        return sql.Literal(value).as_string(None).strip()
    except (psycopg.Error, UnicodeError):
        raise ReadingError(f"PostgreSQL holds no such value: {value!r}.") from None


def _write_condition(one: Filter, zone: ZoneInfo) -> str:
    kind: FilterKind = KINDS[find_column(one.field).type]
    condition = build_comparison(one, COLUMNS[one.field], kind, zone)
    # Expressions have no question mark: only what stands for a value is one.
    first, *others = condition.sql.split("?")
    values = zip(condition.values, others, strict=True)
    return first + "".join(f"{write_literal(value)}{rest}" for value, rest in values)


@dataclass(frozen=True)
class Statements:
    """What is read of one source's calls; `account`, `start`, `end` are open in both.

    In `facts` also `first_minute` and `last_minute`: keys of `general_dates` that no call between
    `start` and `end` lies beyond, whatever its zone was.

    Attributes:
        calls: Their rows, in any order, with `_id` and their own columns, those of `ORDER` among
            them: sorting wide rows would take the server longer than reading them.
        facts: In any order `_id` of the call, measures, ids of the visitor, and the key of each
            dimension as `_<alias>`, of these calls and maybe others; empty if no column needs it.
        dimensions: By alias the statement for its rows, `_id` among them, with `ids` open: a place,
            site or visit is of so many calls that it comes once, not with each of them.
    """

    calls: str
    facts: str
    dimensions: Mapping[str, str]


def _join(aliases: set[str]) -> str:
    """Return the joins that are needed to reach these, from `calls` on."""
    used = aliases | ({"facts"} if aliases & JOINS.keys() else set())
    joins = [
        f"LEFT JOIN {table} AS {alias} ON {alias}.{condition}"
        for alias, (table, condition) in JOINS.items()
        if alias in used
    ]
    if "accounts" in used:
        joins.append("JOIN general_accounts AS accounts ON accounts.account_id = calls.account_id")
    return " ".join(joins)


def build_statements(
    columns: Iterable[str], filters: Sequence[Filter], zone: ZoneInfo, *, is_dated: bool
) -> Statements:
    """Return the statements for one source's calls.

    Calls and facts are apart so that the server joins no wide rows, and both come at once. Which
    calls is for the server to say: what filters need is joined there.

    Args:
        columns: of the frame.
        filters: as `read_where` gives them.
        zone: the source's, whose days and clock filters mean.
        is_dated: whether the source's facts have their minutes, of `general_dates`.
    """
    shown: dict[str, list[str]] = {}
    for name in dict.fromkeys((*ORDER, *columns)):
        alias = COLUMNS[name].partition(".")[0]
        shown.setdefault(alias, []).append(f"{COLUMNS[name]} AS {name}")
    joins = _join({COLUMNS[one.field].partition(".")[0] for one in filters})
    conditions = "".join(f" AND {_write_condition(one, zone)}" for one in filters)
    scope = (
        f"FROM callkeeper_calls AS calls {joins}"
        " WHERE calls.account_id = %(account)s AND calls.called_at >= %(start)s"
        f" AND calls.called_at < %(end)s{conditions.replace('%', '%%')}"
    )
    # To find the facts of each call by its id takes the server a third of its time.
    chosen = (
        "(facts.dates_id BETWEEN %(first_minute)s AND %(last_minute)s OR facts.dates_id = 1)"
        if is_dated and not filters
        else f"facts.calls_id IN (SELECT calls.id {scope})"
    )
    own = ", ".join(["calls.id AS _id", *shown.pop("calls", [])])
    shown.pop("accounts", None)
    clients = shown.pop("clients", [])
    measures = ["facts.calls_id AS _id", *shown.pop("facts", []), *clients]
    keys = [f"facts.{alias}_id AS _{alias}" for alias in shown]
    table, condition = JOINS["clients"]
    joined = f"LEFT JOIN {table} AS clients ON clients.{condition}" if clients else ""
    facts = (
        f"SELECT {', '.join(measures + keys)} FROM callkeeper_calls_facts AS facts {joined}"
        f" WHERE facts.account_id = %(account)s AND {chosen}"
    )
    return Statements(
        f"SELECT {own} {scope}",
        facts if keys or len(measures) > 1 else "",
        {
            alias: f"SELECT id AS _id, {', '.join(names)} FROM {_TABLES[alias]} AS {alias}"
            " WHERE id <> 1 AND id = ANY(%(ids)s)"
            for alias, names in shown.items()
            if alias != "dates"
        },
    )


def describe_columns() -> str:
    """Return the table of docs/python.md: each column, and what it is."""
    lines = ["| column | what it is |", "|---|---|"]
    for name in COLUMNS:
        column = find_column(name)
        unit = f", {column.unit}" if column.unit else ""
        lines.append(f"| `{name}` | {column.description}{unit} |")
    return "\n".join(lines)
