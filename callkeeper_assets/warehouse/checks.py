"""Checks of the warehouse: set-based SQL over a range of days of a source.

What constraints would hold is proved here, after the fact: docs/decisions/0002 says why. Counts are
exact, samples capped. An empty list means that all is well.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from itertools import groupby
from typing import Any, Final

import psycopg

from callkeeper_assets.local_time import split_day
from callkeeper_assets.postgres import connect
from callkeeper_assets.warehouse.accounts import find_account_by_name
from callkeeper_assets.warehouse.call_sql import read_sql
from callkeeper_assets.warehouse.records import Account
from callkeeper_assets.warehouse.schema import CALLS, FACTS
from callkeeper_assets.warehouse.tables import TABLES, Column

_Connection = psycopg.Connection[tuple[Any, ...]]

_EPOCH: Final = date(1970, 1, 1)
_MINUTES: Final = 24 * 60
_FACT_KEYS: Final = [column for column in TABLES[FACTS].columns if column.references]
_DIMENSION_KEYS: Final = [
    key for key in _FACT_KEYS if not str(key.references).startswith(f"{CALLS}.")
]
# Table, its key beside account_id, and the column of callkeeper_calls with the same values.
_CALL_KEYS: Final = ((CALLS, "call_id", "call_id"), (CALLS, "id", "id"), (FACTS, "calls_id", "id"))

# To look up what belongs to a call, by indexes, takes as long as to read about so many of those
# that are held.
_LOOK_UPS_COST: Final = 100
_ARE_FEW: Final = "SELECT count(*) > %s FROM callkeeper_days"


@dataclass(frozen=True)
class Violations:
    """Rows of one day that break a rule of one table.

    Attributes:
        day: in the source's time zone; None for dimensions, which belong to no day.
        rule: what is broken, for people: `sites_id finds no row of general_sites`.
        count: exact.
        sample: ids of up to 10 of the rows: call ids where the table has calls.
    """

    day: date | None
    table: str
    rule: str
    count: int
    sample: tuple[int, ...]


def check_keys_unique(url: str, account: Account, first: date, last: date) -> list[Violations]:
    """Find keys that occur twice, in calls and facts of the days and in all dimensions.

    A valid unique index is the proof; rows are compared where it is gone.
    """
    found = []
    with _open(url, (last - first).days + 1) as connection:
        scope = _scope(connection, account, first, last)
        unique = {
            (table, tuple(columns))
            for table, columns in _fetch(connection, read_sql("unique_indexes"), {})
        }
        for table, key, call_key in _CALL_KEYS if scope else ():
            if (table, ("account_id", key)) in unique:
                continue
            statement = read_sql("check_unique").format(table=table, key=key, call_key=call_key)
            found += [
                Violations(day, table, f"{key} occurs more than once", count, tuple(sample))
                for day, count, sample in _fetch(connection, statement, scope)
            ]
        for name in (n for n, table in TABLES.items() if table.key == ("id",)):
            if (name, ("id",)) in unique:
                continue
            statement = read_sql("check_unique_dimension").format(table=name)
            found += [
                Violations(None, name, "id occurs more than once", count, tuple(sample))
                for count, sample in _fetch(connection, statement, {})
                if count
            ]
    return found


@dataclass(frozen=True)
class Inspection:
    """What the database holds of some days.

    Attributes:
        rows: by day, how many of callkeeper_calls and callkeeper_calls_facts the source has told
            of; a day without any has 0. Calls known only from a webhook are not counted: the
            source's answer says nothing of them.
        broken: keys of the days' facts that find no row.
    """

    rows: Mapping[date, Mapping[str, int]]
    broken: Sequence[Violations]


def inspect_days(url: str, account: Account, days: Iterable[date]) -> Inspection:
    """Count the rows of days, and find keys of their facts that find none; in one pass."""
    wanted = sorted(days)
    counts: dict[date, dict[str, int]] = {day: {CALLS: 0, FACTS: 0} for day in wanted}
    broken: list[Violations] = []
    with _open(url, len(wanted)) as connection:
        for first, last in _adjoining(wanted):
            scope = _scope(connection, account, first, last)
            if not scope:
                continue
            missing: set[str] = set()
            # What is left of these once the calls' own are taken off; a call that stands twice, by
            # which too many would be, is what `check_keys_unique` tells of.
            ((without_call,),) = _fetch(connection, read_sql("facts_of_minutes"), scope)
            for day, calls, facts, of_minutes, *by_key in _fetch(
                connection, _build_inspection(), scope
            ):
                counts[day] = {CALLS: calls, FACTS: facts}
                without_call -= of_minutes
                missing |= {
                    key.name for key, count in zip(_DIMENSION_KEYS, by_key, strict=True) if count
                }
            for key in _FACT_KEYS:
                # Facts without a call have no day of their own: each key is looked at in full.
                if without_call or key.name in missing:
                    broken += _find_broken(connection, key, scope)
    return Inspection(counts, broken)


def _adjoining(days: Sequence[date]) -> Iterator[tuple[date, date]]:
    """Yield the first and last day of each stretch without a gap."""
    for _, run in groupby(enumerate(days), lambda one: one[1].toordinal() - one[0]):
        stretch = [day for _, day in run]
        yield stretch[0], stretch[-1]


def _find_broken(
    connection: _Connection, key: Column, scope: Mapping[str, object]
) -> list[Violations]:
    target, _, target_column = str(key.references).partition(".")
    statement = read_sql("check_reference").format(
        column=key.name,
        target=target,
        target_column=target_column,
        same_account="AND t.account_id = facts.account_id" if target == CALLS else "",
    )
    return [
        Violations(day, FACTS, f"{key.name} finds no row of {target}", count, tuple(sample))
        for day, count, sample in _fetch(connection, statement, scope)
    ]


@cache
def _build_inspection() -> str:
    counts, joins = [], []
    for key in _DIMENSION_KEYS:
        target, _, target_column = str(key.references).partition(".")
        counts.append(
            f"count(*) FILTER (WHERE f.calls_id IS NOT NULL"
            f" AND {key.name}_row.{target_column} IS NULL)"
        )
        joins.append(
            f"LEFT JOIN {target} AS {key.name}_row ON {key.name}_row.{target_column} = f.{key.name}"
        )
    return read_sql("inspect_days").format(counts=", ".join(counts), joins="\n".join(joins))


@contextmanager
def _open(url: str, days: int) -> Iterator[_Connection]:
    with connect(url) as connection:
        # Just loaded, the tables have no statistics: taken for small, they would be read whole for
        # each row. So each is read whole once, or, where that is much more than the days, not once.
        row = connection.execute(_ARE_FEW, (days * _LOOK_UPS_COST,)).fetchone()
        refused = "seqscan" if row and row[0] else "nestloop"
        connection.execute(f"SET enable_{refused} = off")
        yield connection


def _days(first: date, last: date) -> list[date]:
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def _scope(connection: _Connection, account: Account, first: date, last: date) -> dict[str, object]:
    """Return the values that bound a check; empty if the warehouse does not know the source."""
    account_id = find_account_by_name(connection, account.name)
    if account_id is None:
        return {}
    segments = [s for day in _days(first, last) for s in split_day(day, account.time_zone)]
    return {
        "account_id": account_id,
        "first": first,
        "last": last,
        "first_minute": (first - _EPOCH).days * _MINUTES,
        "end_minute": ((last - _EPOCH).days + 1) * _MINUTES,
        "starts_at": segments[0].starts_at,
        "ends_at": segments[-1].ends_at,
        "days": [s.day for s in segments],
        "starts": [s.starts_at for s in segments],
        "ends": [s.ends_at for s in segments],
    }


def _fetch(
    connection: _Connection, statement: str, values: Mapping[str, object]
) -> list[tuple[Any, ...]]:
    # The text is from sql/, with names of declared tables and columns put in.
    return connection.execute(statement.encode(), dict(values) or None).fetchall()
