"""Loads that run at once neither deadlock nor double a row, of one source or of several."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import psycopg

from callkeeper_assets.warehouse.loader import Account, RawDay
from callkeeper_assets.warehouse.migrate import ensure_schema
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


def shared_days(first_id: int) -> list[RawDay]:
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
