"""The SQL that turns raw calls into the tables' values, put together for one load.

The rules are in `sql/`; here they are joined with the paths that occur, the chosen tables and the
filters. Only vetted names are put in; filters' values are bound.
"""

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final
from zoneinfo import ZoneInfo

from callkeeper_assets.postgres import read_sql_of
from callkeeper_assets.raw.document import OBJECT_PATTERN
from callkeeper_assets.raw.fields import CALL_FIELDS, CallField
from callkeeper_assets.warehouse.filters import (
    Condition,
    Filter,
    build_condition,
    is_column,
    raw_field_names,
)
from callkeeper_assets.warehouse.schema import CALLS, DATES, DIMENSIONS, FACTS, UNKNOWN_ID

read_sql = read_sql_of("callkeeper_assets.warehouse")

_WORD: Final = re.compile(r"[A-Za-z_]\w*")
_QUOTED: Final = re.compile("'[^']*'")

_PASS_ALL: Final = Condition("true")

# The fields that are more than texts.
_READ: Final = tuple(field for field in CALL_FIELDS if field.is_read and field.kind != "text")


@dataclass(frozen=True)
class TransformPlan:
    """What a load does with each call, whatever the calls are.

    Attributes:
        tables: chosen ones.
        outcome: expressions over a transformed call; which tables keep it, and its keys.
        values: bound in `outcome`, in order.
        raw_fields: fields that filters ask for.
        lacks_facts: whether a call may be kept without its facts.
    """

    tables: tuple[str, ...]
    outcome: str
    values: tuple[object, ...]
    raw_fields: tuple[str, ...]
    lacks_facts: bool


def _split_items(listed: str) -> Iterator[str]:
    """Split a list of expressions at its own commas."""
    depth, begin = 0, 0
    for at, letter in enumerate(listed):
        depth += (letter == "(") - (letter == ")")
        if letter == "," and not depth:
            yield listed[begin:at].strip()
            begin = at + 1
    yield listed[begin:].strip()


@cache
def list_origins() -> Mapping[str, tuple[str, ...]]:
    """Return, by its name in a transformed call, the raw fields that a value is made from.

    Each by the first of its paths. What no field stands behind is left out. Read from the
    transformation itself, so that there is no second list to be kept.
    """
    paths = {field.name: field.paths[0] for field in CALL_FIELDS}
    # Made of the manager's field before the transformation.
    paths |= {"manager": paths["phone1"], "managers": paths["phone1"]}
    listed = read_sql("transform").rpartition("SELECT\n")[2].rpartition("\nFROM")[0]
    origins: dict[str, tuple[str, ...]] = {}
    for item in _split_items(listed):
        made_from, _, name = item.rpartition(" AS ")
        words = _WORD.findall(_QUOTED.sub("", made_from or name))
        found: list[str] = []
        for word in words:
            field = word.removeprefix("read_")
            found += [paths[field]] if field in paths else origins.get(word, ())
        if found:
            origins[name] = tuple(dict.fromkeys(found))
    return origins


def _both(first: Condition, second: Condition) -> Condition:
    return Condition(f"({first.sql}) AND ({second.sql})", (*first.values, *second.values))


def _date_condition(filters: Sequence[Filter], zone: ZoneInfo) -> Condition:
    """Build the condition on general_dates, whose columns a call gets from its minute."""
    by_column = [f for f in filters if is_column(DATES, f)]
    condition = build_condition(DATES, [f for f in filters if not is_column(DATES, f)], zone)
    if not by_column:
        return condition
    inner = build_condition(DATES, by_column, zone)
    minutes = "WITH minutes AS (SELECT DISTINCT local_minute AS id FROM call_values)"
    selected = f"SELECT id FROM ({minutes} {read_sql('dates')}) WHERE {inner.sql}"
    return _both(condition, Condition(f"local_minute IN ({selected})", inner.values))


def plan_load(
    tables: tuple[str, ...], filters: Mapping[str, Sequence[Filter]], zone: ZoneInfo
) -> TransformPlan:
    """Put tables and filters together.

    A row of facts needs its call, so facts pass the filters of both. Rows of dimensions are made
    for the calls that the finest chosen table keeps. Days in filters are those of the zone.

    Raises:
        FilterError: a filter cannot be meant.
    """

    def condition(table: str) -> Condition:
        if table not in tables:
            return Condition("false")
        return build_condition(table, filters.get(table, ()), zone)

    keep_calls = condition(CALLS)
    keep_facts = _both(keep_calls, condition(FACTS))
    finest = keep_facts if FACTS in tables else keep_calls if CALLS in tables else _PASS_ALL
    parts = [(keep_calls, "{} AS keep_calls"), (keep_facts, "{} AS keep_facts")]
    dates = _date_condition(filters.get(DATES, ()), zone) if DATES in tables else Condition("false")
    minute = f"CASE WHEN {{}} THEN local_minute ELSE {UNKNOWN_ID} END AS dates_id"
    parts.append((_both(finest, dates), minute))
    for dimension in DIMENSIONS:
        known = f"coalesce({', '.join(dimension.values)}) IS NOT NULL"
        passed = _both(finest, condition(dimension.table))
        columns = ", ".join(f"key_part({value})" for value in dimension.values)
        key = f"md5(concat_ws(chr(31), {columns}))::UUID"
        parts.append((passed, f"CASE WHEN {{}} AND {known} THEN {key} END AS {dimension.key}"))
    return TransformPlan(
        tables=tables,
        outcome=",\n".join(text.format(f"({part.sql})") for part, text in parts),
        values=tuple(value for part, _ in parts for value in part.values),
        raw_fields=raw_field_names({t: filters.get(t, ()) for t in tables}),
        lacks_facts=CALLS in tables and (FACTS not in tables or bool(filters.get(FACTS))),
    )


def _shape(paths: Collection[str]) -> str:
    """Return the structure that json_transform takes: every leaf is text."""
    shape: dict[str, object] = {}
    for path in paths:
        *parents, leaf = path.split(".")
        node = shape
        for parent in parents:
            node = node.setdefault(parent, {})  # type: ignore[assignment]
        node[leaf] = "VARCHAR"
    return json.dumps(shape or {"id": "VARCHAR"})


def _reach(path: str) -> str:
    return ".".join(("doc", *(f'"{part}"' for part in path.split("."))))


def _list_leaves(paths: Collection[str]) -> str:
    """Return each value as a column named by its path: rules repeat what they are given."""
    return "".join(f', {_reach(path)} AS "{path}"' for path in sorted(paths))


def _field(field: CallField, paths: Collection[str], cleaner: str) -> str:
    def clean(path: str) -> str:
        value = f'{cleaner}("{path}")'
        return f"nullif({value}, '0')" if path in field.zero_is_none else value

    leaves = [clean(path) for path in field.paths if path in paths]
    match leaves:
        case []:
            value = "NULL::VARCHAR"
        case [leaf]:
            value = leaf
        case _:
            value = f"coalesce({', '.join(leaves)})"
    return f'{value} AS "{field.name}"'


def build_transformation(plan: TransformPlan, paths: Collection[str], *, has_zeros: bool) -> str:
    """Return the statement over the relations `raw` and `segments`.

    Args:
        plan: of this load.
        paths: of fields that occur: the fewer, the faster.
        has_zeros: whether a text may hold the character 0.
    """
    cleaner = "blank_to_null_without_zeros" if has_zeros else "blank_to_null"
    extra = "".join(f', "{name}" AS "raw_{name}"' for name in plan.raw_fields)
    fields = [field for field in CALL_FIELDS if field.is_read or field.name in plan.raw_fields]
    read = {path for field in fields for path in field.paths if path in paths}
    checked = _list_checked(read)
    unread = " OR ".join(_unread(field) for field in checked)
    transform = read_sql("transform").replace("{extra}", extra)
    return read_sql("fields").format(
        shape=_shape(sorted(read)),
        object=OBJECT_PATTERN,
        is_objectless=_build_objectless(read),
        leaves=_list_leaves(read),
        fields=", ".join(_field(field, read, cleaner) for field in fields),
        is_plain=_build_plain(checked),
        readings=", ".join(_read(field, is_there=field in checked) for field in _READ),
        transform=transform.replace("{unread}", f"({unread or 'false'})"),
        outcome=plan.outcome,
    )


def build_count_of_unread(paths: Collection[str], *, has_zeros: bool) -> str:
    """Return the statement that counts, by day, the values of each field that cannot be read.

    Its columns are the day and the fields' names; arguments as of `build_transformation`.
    """
    cleaner = "blank_to_null_without_zeros" if has_zeros else "blank_to_null"
    fields = _list_checked(paths)
    read = {path for field in fields for path in field.paths if path in paths}
    counts = [f'count(*) FILTER ({_unread(field)}) AS "{field.name}"' for field in fields]
    return read_sql("unread").format(
        shape=_shape(sorted(read)),
        leaves=_list_leaves(read),
        fields=", ".join(_field(field, read, cleaner) for field in fields),
        is_plain=_build_plain(fields),
        readings=", ".join(_read(field, is_there=True) for field in fields),
        counts=", ".join(counts),
    )


def _list_checked(paths: Collection[str]) -> list[CallField]:
    return [field for field in _READ if any(path in paths for path in field.paths)]


def _build_plain(fields: Sequence[CallField]) -> str:
    texts = ", ".join(f'"{field.name}"' for field in fields if field.kind == "whole")
    return f"are_plain(concat_ws(' ', {texts}))" if texts else "true"


def _build_objectless(paths: Collection[str]) -> str:
    """Return whether an object that some call has is missing in this one."""
    objects = {path.rpartition(".")[0] for path in paths} - {""}
    objects |= {path.rpartition(".")[0] for path in objects} - {""}
    return " OR ".join(f"{_reach(path)} IS NULL" for path in sorted(objects)) or "false"


def _read(field: CallField, *, is_there: bool) -> str:
    name = f'"{field.name}"'
    if field.kind == "whole":
        value = f"whole({name}, is_plain)" if is_there else "NULL::INTEGER"
    else:
        value = f"moment({name})" if is_there else "NULL::TIMESTAMPTZ"
    return f'{value} AS "read_{field.name}"'


def _unread(field: CallField) -> str:
    return f'is_unread("{field.name}", "read_{field.name}")'
