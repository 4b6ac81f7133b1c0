"""Retention in the warehouse: what is left is what a clean load of the kept days gives."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import date, timedelta
from typing import Any

import psycopg
from hypothesis import given, settings
from hypothesis import strategies as st

from callkeeper_assets.postgres import connect
from callkeeper_assets.postgres.locks import CALLS_LOCK, DIMENSIONS_LOCK
from callkeeper_assets.retention.old_calls import PLACES, OldCalls
from callkeeper_assets.warehouse.dimension_rows import count_orphans, delete_orphans
from callkeeper_assets.warehouse.migrate import ensure_schema
from callkeeper_assets.warehouse.records import Account, Deleted
from callkeeper_assets.warehouse.tables import TABLES
from callkeeper_assets_tests.extent import IS_LONG, examples
from callkeeper_assets_tests.warehouse.raw_days import (
    DAY,
    MAIN,
    MOSCOW,
    call,
    day_of,
    load_all,
    rows,
)

OTHER = Account("other", "Other", MOSCOW)
_STARS = """
    SELECT c.call_id, c.called_at, d.full_date, k.clientid, k.phone, t.campaign, s.domain, l.city,
        f.duration_sec, f.attempt
    FROM callkeeper_calls_facts AS f
    JOIN callkeeper_calls AS c ON c.id = f.calls_id AND c.account_id = f.account_id
    JOIN general_dates AS d ON d.id = f.dates_id
    JOIN general_clientids AS k ON k.id = f.clientids_id
    JOIN general_traffic AS t ON t.id = f.traffic_id
    JOIN general_sites AS s ON s.id = f.sites_id
    JOIN general_locations AS l ON l.id = f.locations_id
    JOIN general_accounts AS a ON a.account_id = c.account_id
    ORDER BY a.name, c.call_id
"""
_DIMENSIONS = {
    "general_sites": "domain",
    "general_clientids": "clientid",
    "general_traffic": "campaign",
    "general_locations": "city",
    "general_dates": "full_date",
}
_MISSING = """
    SELECT count(*) FROM callkeeper_calls_facts AS f
    LEFT JOIN callkeeper_calls AS c ON c.id = f.calls_id
    LEFT JOIN general_sites AS s ON s.id = f.sites_id
    LEFT JOIN general_clientids AS k ON k.id = f.clientids_id
    LEFT JOIN general_dates AS d ON d.id = f.dates_id
    WHERE c.id IS NULL OR s.id IS NULL OR k.id IS NULL OR d.id IS NULL
"""

Loads = dict[Account, dict[date, list[dict[str, Any]]]]


def test_every_table_of_days_is_cleared_but_the_books() -> None:
    """The load log, and when a report met a field first, say nothing of a call.

    That a call is forgotten has to be known as long as CallKeeper could send it again.
    """
    books = {"callkeeper_loads", "callkeeper_report_fields", "callkeeper_forgotten_calls"}
    of_days = {
        name
        for name, table in TABLES.items()
        if "day" in table.column_names and table.role != "dimension"
    }
    assert of_days - books <= {place.table for place in PLACES}


def _retain(url: str, account: Account, first_kept: date) -> dict[str, Deleted]:
    """Retain, and check that a dry run had told just that."""
    with connect(url, autocommit=True) as connection:
        old = OldCalls(connection, account, first_kept)
        assert old.account_id is not None
        until = f"{first_kept} 00:00:00+03"
        reported = {**old.count(), **count_orphans(connection, old.account_id, until, first_kept)}
        gone: dict[str, Deleted] = {}
        for _, _, day in old.delete_days("retention"):
            gone |= {name: gone.get(name, Deleted()) + one for name, one in day.items()}
        for table, orphans in delete_orphans(connection):
            assert orphans is not None
            gone[table] = gone.get(table, Deleted()) + orphans
    assert gone == reported
    return gone


def _content(url: str) -> list[Any]:
    dimensions = [
        rows(url, f"SELECT {column} FROM {table} ORDER BY 1")
        for table, column in _DIMENSIONS.items()
    ]
    return [rows(url, _STARS), *dimensions]


def _load(url: str, loads: Loads, first: date) -> None:
    for account, days in loads.items():
        chosen = [day_of(day, calls) for day, calls in sorted(days.items()) if day >= first]
        load_all(url, chosen, account)


def _clear(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for table in ("callkeeper_calls_facts", "callkeeper_calls", "callkeeper_days"):
            connection.execute(f"TRUNCATE {table}".encode())
        for table in _DIMENSIONS:
            connection.execute(f"DELETE FROM {table} WHERE id <> 1".encode())


_calls = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["x", "y", "z"]), st.integers(0, 3)),
    max_size=4,
)


@settings(max_examples=examples(3))
@given(
    given_days=st.lists(st.tuples(_calls, _calls), min_size=1, max_size=4),
    kept=st.integers(0, 4),
)
def test_what_is_left_is_a_clean_load_of_what_is_kept(
    database: str, given_days: list[tuple[list[Any], list[Any]]], kept: int
) -> None:
    loads: Loads = {MAIN: {}, OTHER: {}}
    for number, both in enumerate(given_days):
        for account, calls in zip(loads, both, strict=True):
            loads[account][DAY + timedelta(days=number)] = [
                call(1000 * number + place, site=site, ga_clientid=client, attempt=attempt)
                for place, (site, client, attempt) in enumerate(calls)
            ]
    first_kept = DAY + timedelta(days=kept)
    ensure_schema(database)
    _clear(database)
    _load(database, loads, DAY)
    _retain(database, MAIN, first_kept)
    left = _content(database)
    known = rows(
        database,
        "SELECT day FROM callkeeper_days JOIN general_accounts AS a USING (account_id) "
        f"WHERE a.name = '{MAIN.name}' ORDER BY day",
    )
    assert known == [(day,) for day in sorted(loads[MAIN]) if day >= first_kept]
    _clear(database)
    _load(database, {MAIN: loads[MAIN]}, first_kept)
    _load(database, {OTHER: loads[OTHER]}, DAY)
    assert left == _content(database)


@contextmanager
def _checking(url: str) -> Iterator[list[int]]:
    """Look through all facts again and again for one whose row is gone."""
    seen: list[int] = []
    stop = threading.Event()

    def look() -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            while not stop.is_set():
                found = connection.execute(_MISSING.encode()).fetchone()
                seen.append(found[0] if found else -1)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


def test_rows_that_loads_beside_it_are_about_to_use_stay(database: str) -> None:
    """Days come and go, so that rows are nobody's for a moment and somebody's in the next."""
    sources = [Account(f"source_{n}", "", MOSCOW) for n in range(3)]

    def calls_of(turn: int) -> list[dict[str, Any]]:
        return [
            call(n, site=f"{(n + turn) % 5}.example", ga_clientid=f"{turn % 2}.{n % 7}")
            for n in range(1, 30)
        ]

    def load_turns(account: Account) -> None:
        for turn in range(12 if IS_LONG else 5):
            days = [day_of(DAY + timedelta(days=d), calls_of(turn + d)[d::2]) for d in range(2)]
            load_all(database, days, account, force=True)

    load_all(database, [day_of(DAY, calls_of(0))], sources[0])
    deleted = 0
    with _checking(database) as seen, ThreadPoolExecutor(3) as pool:
        loading = [pool.submit(load_turns, account) for account in sources]
        with connect(database, autocommit=True) as connection:
            while not all(one.done() for one in loading):
                deleted += sum(one.rows for _, one in delete_orphans(connection) if one)
        for one in loading:
            one.result()
    assert deleted
    assert len(seen) > 10
    assert set(seen) == {0}


def test_a_load_that_remembers_a_row_makes_it_anew_when_it_was_deleted(database: str) -> None:
    """Between two batches of one load: what it knows of the first is not true any more."""

    def days() -> Iterator[Any]:
        # A batch is 31 days; one is merged when the one after the next is read.
        for number in range(93):
            shared = [call(1, site="shared.example", ga_clientid="shared")] if not number else []
            yield day_of(DAY + timedelta(days=number), shared)
        # The first batch is committed by now.
        with connect(database, autocommit=True) as connection:
            for _ in OldCalls(connection, MAIN, DAY + timedelta(days=1)).delete_days("retention"):
                pass
            assert sum(one.rows for _, one in delete_orphans(connection) if one)
        yield day_of(
            DAY + timedelta(days=93), [call(3, site="shared.example", ga_clientid="shared")]
        )

    load_all(database, days())
    assert rows(database, _MISSING) == [(0,)]
    assert rows(
        database,
        "SELECT c.call_id, s.domain FROM callkeeper_calls_facts AS f "
        "JOIN callkeeper_calls AS c ON c.id = f.calls_id "
        "JOIN general_sites AS s ON s.id = f.sites_id ORDER BY 1",
    ) == [(3, "shared.example")]


def test_a_day_waits_for_a_load_of_the_source_and_rows_for_any_load(database: str) -> None:
    load_all(database, [day_of(DAY, [call(1)])])
    with (
        psycopg.connect(database, autocommit=True) as other,
        connect(database, autocommit=True) as connection,
        ThreadPoolExecutor(1) as pool,
    ):
        old = OldCalls(connection, MAIN, DAY + timedelta(days=1))
        for key, work in (
            (f"({CALLS_LOCK}, {old.account_id})", lambda: list(old.delete_days("run"))),
            (f"({DIMENSIONS_LOCK})", lambda: list(delete_orphans(connection))),
        ):
            other.execute(f"SELECT pg_advisory_lock_shared{key}".encode())
            working = pool.submit(work)
            threading.Event().wait(0.5)
            assert not working.done()
            other.execute(f"SELECT pg_advisory_unlock_shared{key}".encode())
            assert working.result(timeout=120)
    assert rows(database, "SELECT count(*) FROM general_sites") == [(1,)]
