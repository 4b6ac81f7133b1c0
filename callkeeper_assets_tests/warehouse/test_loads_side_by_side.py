"""Loads that run at once neither deadlock nor double a row, of one source or of several."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import psycopg

from callkeeper_assets.raw.store import Day
from callkeeper_assets.warehouse.migrate import ensure_schema
from callkeeper_assets.warehouse.records import Account
from callkeeper_assets_tests.warehouse.raw_days import (
    DAY,
    MAIN,
    MOSCOW,
    call,
    changes,
    day_of,
    load_all,
    rows,
)

CALLS, FACTS = "callkeeper_calls", "callkeeper_calls_facts"


def shared_days(first_id: int) -> list[Day]:
    """Days whose dimension rows every source wants, in another order of calls for each."""
    return [
        day_of(
            DAY + timedelta(days=d),
            [
                call(
                    first_id + d * 100 + n,
                    site=f"{(n * first_id) % 37}.example",
                    ga_clientid=f"{(n * first_id) % 41}",
                    ya_clientid=None,
                    phone2=None,
                )
                for n in range(60)
            ],
        )
        for d in range(3)
    ]


def test_sources_side_by_side_share_each_dimensions_row(database: str) -> None:
    ensure_schema(database)
    sources = [(Account(f"source_{n}", "", MOSCOW), shared_days(1000 * n + 1)) for n in range(4)]
    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(load_all, database, days, who) for who, days in sources]
        for future in done:
            assert changes(future.result())[FACTS] == (180, 0, 0)
    assert rows(database, "SELECT count(*), count(DISTINCT domain) FROM general_sites") == [
        (38, 37)
    ]
    assert rows(database, "SELECT count(*), count(DISTINCT clientid) FROM general_clientids") == [
        (42, 42)
    ]
    assert rows(database, f"SELECT count(*), count(DISTINCT id) FROM {CALLS}") == [(720, 720)]


def test_one_source_loaded_twice_at_once_is_loaded_once(database: str) -> None:
    days = shared_days(1)
    with ThreadPoolExecutor(4) as pool:
        results = [f.result() for f in [pool.submit(load_all, database, days) for _ in range(4)]]
    assert sorted(changes(result).get(CALLS, (0, 0, 0)) for result in results) == [
        *[(0, 0, 0)] * 3,
        (180, 0, 0),
    ]
    assert rows(database, f"SELECT count(*), count(DISTINCT call_id) FROM {CALLS}") == [(180, 180)]
    assert rows(database, "SELECT count(*) FROM general_accounts") == [(2,)]


def test_a_load_that_was_cut_off_is_made_right_by_the_next(database: str) -> None:
    days = shared_days(1)
    load_all(database, days[:1])
    with psycopg.connect(database) as connection:
        # What a kill between the dimensions' transaction and the facts' leaves behind.
        connection.execute("DELETE FROM callkeeper_calls_facts")
        connection.execute("DELETE FROM callkeeper_calls")
        connection.execute("DELETE FROM callkeeper_days")
    assert changes(load_all(database, days[:1])) == {CALLS: (60, 0, 0), FACTS: (60, 0, 0)}
    assert MAIN.name in rows(database, "SELECT name FROM general_accounts WHERE id > 1")[0]


def test_a_row_that_another_load_makes_meanwhile_is_found_and_the_others_are_made(
    database: str,
) -> None:
    load_all(database, [day_of(DAY, [call(1, site="both.example")])])
    later = day_of(DAY + timedelta(days=1), [call(2, site="both.example"), call(3, site="own")])
    with ThreadPoolExecutor(1) as pool, psycopg.connect(database) as other:
        other.execute("DELETE FROM general_sites WHERE domain = 'both.example'")
        other.commit()
        # Uncommitted, so that the load does not find the row and then waits for it.
        other.execute(
            "INSERT INTO general_sites (id, domain, key_hash)"
            " VALUES (999, 'both.example', md5('both.example')::uuid)"
        )
        loading = pool.submit(load_all, database, [later])
        _wait_for_a_lock(database)
        other.commit()
        made = changes(loading.result(timeout=60))
    assert (made["general_sites"], made[FACTS]) == ((1, 0, 0), (2, 0, 0))
    assert rows(
        database,
        "SELECT s.id = 999, s.domain FROM callkeeper_calls_facts f"
        " JOIN general_sites s ON s.id = f.sites_id JOIN callkeeper_calls c ON c.id = f.calls_id"
        " WHERE c.call_id > 1 ORDER BY c.call_id",
    ) == [(True, "both.example"), (False, "own")]


def _wait_for_a_lock(database: str) -> None:
    deadline = time.monotonic() + 30
    waiting = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    while rows(database, waiting) == [(0,)]:
        assert time.monotonic() < deadline, "the load did not come to wait"
        time.sleep(0.05)
