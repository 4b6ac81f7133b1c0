"""Checks of the warehouse: set-based SQL over a range of days of a source.

What constraints would hold is proved here, after the fact: docs/decisions/0002 says why. Counts are
exact, samples capped. An empty list means that all is well.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
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

# Table, its key beside account_id, and the column of callkeeper_calls with the same values.
_CALL_KEYS: Final = ((CALLS, "call_id", "call_id"), (CALLS, "id", "id"), (FACTS, "calls_id", "id"))


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
    with _open(url) as connection:
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


def check_foreign_keys(url: str, account: Account, first: date, last: date) -> list[Violations]:
    """Find keys of the days' facts that find no row."""
    found = []
    with _open(url) as connection:
        scope = _scope(connection, account, first, last)
        for column in _broken_references(connection, scope) if scope else ():
            target, _, target_column = str(column.references).partition(".")
            statement = read_sql("check_reference").format(
                column=column.name,
                target=target,
                target_column=target_column,
                same_account="AND t.account_id = facts.account_id" if target == CALLS else "",
            )
            found += [
                Violations(day, FACTS, f"{column.name} finds no row of {target}", n, tuple(sample))
                for day, n, sample in _fetch(connection, statement, scope)
            ]
    return found


def _broken_references(connection: _Connection, scope: Mapping[str, object]) -> list[Column]:
    """Return the facts' keys that do not all find their rows: mostly none, at one pass's cost."""
    keys = [column for column in TABLES[FACTS].columns if column.references]
    others = [column for column in keys if not str(column.references).startswith(f"{CALLS}.")]
    counts, joins = [], []
    for column in others:
        target, _, target_column = str(column.references).partition(".")
        counts.append(f"count(*) FILTER (WHERE {column.name}_row.{target_column} IS NULL)")
        joins.append(
            f"LEFT JOIN {target} AS {column.name}_row "
            f"ON {column.name}_row.{target_column} = f.{column.name}"
        )
    statement = read_sql("missing_references").format(
        counts=", ".join(counts), joins="\n".join(joins)
    )
    ((orphans,),) = _fetch(connection, read_sql("orphans"), scope)
    if orphans:
        # Facts without a call have no day of their own: each key is looked at in full.
        return keys
    (missing,) = _fetch(connection, statement, scope)
    return [column for column, count in zip(others, missing, strict=True) if count]


def count_rows(
    url: str, account: Account, first: date, last: date
) -> Mapping[date, Mapping[str, int]]:
    """Count rows of callkeeper_calls and callkeeper_calls_facts by day; a day without any has 0.

    Calls known only from a webhook are not counted: the source's answer says nothing of them.
    """
    counts: dict[date, dict[str, int]] = {day: {CALLS: 0, FACTS: 0} for day in _days(first, last)}
    with _open(url) as connection:
        scope = _scope(connection, account, first, last)
        for day, calls, facts in _fetch(connection, read_sql("count_rows"), scope) if scope else ():
            counts[day] = {CALLS: calls, FACTS: facts}
    return counts


@contextmanager
def _open(url: str) -> Iterator[_Connection]:
    with connect(url) as connection:
        # Just loaded, the tables have no statistics yet, and a nested loop over them takes long.
        connection.execute("SET enable_nestloop = off")
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
