"""Checks find exactly what is broken, on its day; queries tell what is loaded."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from callkeeper_assets.warehouse.checks import (
    Violations,
    check_keys_unique,
    inspect_days,
)
from callkeeper_assets.warehouse.queries import source_statuses, unsettled_days
from callkeeper_assets.warehouse.records import Account
from callkeeper_assets_tests.warehouse.raw_days import DAY, MAIN, MOSCOW, call, day_of, load_all

NEXT_DAY = DAY + timedelta(days=1)
CALLS, FACTS = "callkeeper_calls", "callkeeper_calls_facts"


def execute(url: str, *statements: str) -> None:
    with psycopg.connect(url) as connection:
        for statement in statements:
            connection.execute(statement.encode())


# Of few days among many, what belongs to a call is looked up; else tables are read whole.
each_way = pytest.mark.parametrize("held", [0, 1_000])


def load_two_days(url: str, held: int = 0) -> None:
    """Load two days; so many others are held of another account."""
    pending = call(13, status_code=707, status2_code=0)
    load_all(
        url, [day_of(DAY, [call(1), call(2)]), day_of(NEXT_DAY, [call(11), call(12), pending])]
    )
    execute(
        url,
        "INSERT INTO callkeeper_days (account_id, day, raw_calls, non_final, reading, most_calls) "
        f"SELECT 999, date '2020-01-01' + n, 0, 0, 1, 0 FROM generate_series(1, {held}) AS n",
    )


@each_way
def test_a_good_warehouse_passes(database: str, held: int) -> None:
    load_two_days(database, held)
    assert check_keys_unique(database, MAIN, DAY, NEXT_DAY) == []
    inspection = inspect_days(database, MAIN, [DAY, NEXT_DAY])
    assert inspection.broken == []
    assert inspection.rows == {DAY: {CALLS: 2, FACTS: 2}, NEXT_DAY: {CALLS: 3, FACTS: 3}}


def test_days_between_those_that_are_inspected_are_not_looked_at(database: str) -> None:
    load_two_days(database)
    execute(database, f"UPDATE {FACTS} SET sites_id = 99")
    apart = [DAY - timedelta(days=9), NEXT_DAY]
    inspection = inspect_days(database, MAIN, apart)
    assert [(one.day, one.count) for one in inspection.broken] == [(NEXT_DAY, 3)]
    assert inspection.rows == {
        apart[0]: {CALLS: 0, FACTS: 0},
        NEXT_DAY: {CALLS: 3, FACTS: 3},
    }


@each_way
def test_a_key_without_its_row_is_found_on_its_day(database: str, held: int) -> None:
    load_two_days(database, held)
    execute(
        database,
        f"UPDATE {FACTS} SET sites_id = 99 WHERE calls_id IN "
        f"(SELECT id FROM {CALLS} WHERE call_id IN (11, 12))",
    )
    expected = Violations(NEXT_DAY, FACTS, "sites_id finds no row of general_sites", 2, (11, 12))
    assert inspect_days(database, MAIN, [DAY, NEXT_DAY]).broken == [expected]
    assert inspect_days(database, MAIN, [DAY]).broken == []


@each_way
def test_facts_without_their_call_are_found_on_their_minutes_day(database: str, held: int) -> None:
    load_two_days(database, held)
    execute(database, f"DELETE FROM {CALLS} WHERE call_id = 1")
    (found,) = inspect_days(database, MAIN, [DAY, NEXT_DAY]).broken
    assert (found.day, found.rule, found.count) == (
        DAY,
        "calls_id finds no row of callkeeper_calls",
        1,
    )


@each_way
def test_a_key_that_occurs_twice_is_found(database: str, held: int) -> None:
    load_two_days(database, held)
    execute(
        database,
        f"ALTER TABLE {CALLS} DROP CONSTRAINT callkeeper_calls_account_id_call_id_key",
        f"UPDATE {CALLS} SET call_id = 11 WHERE call_id = 12",
        "ALTER TABLE general_sites DROP CONSTRAINT general_sites_pkey CASCADE",
        "INSERT INTO general_sites (id, key_hash) VALUES (2, md5('x')::uuid)",
    )
    assert check_keys_unique(database, MAIN, DAY, NEXT_DAY) == [
        Violations(NEXT_DAY, CALLS, "call_id occurs more than once", 1, (11,)),
        Violations(None, "general_sites", "id occurs more than once", 1, (2,)),
    ]


@each_way
def test_facts_of_a_source_that_has_no_statistics_yet_are_read_once(
    database: str, held: int
) -> None:
    """Beside sources that have been analysed a new one looks empty to the server."""
    count = 1_200
    load_two_days(database, held)
    load_all(database, [day_of(DAY, [call(n + 20) for n in range(count)])])
    execute(database, f"ANALYZE {CALLS}", f"ANALYZE {FACTS}")
    new = Account("new_office", "New office", MOSCOW, timedelta(0))
    day = day_of(DAY, [call(n) for n in range(1, count + 1)])
    load_all(database, [day], new)
    before = _count_read_facts(database)
    assert inspect_days(database, new, [DAY]).rows[DAY] == {CALLS: count, FACTS: count}
    assert check_keys_unique(database, new, DAY, DAY) == []
    load_all(database, [day], new)  # compared with what is there
    assert _count_read_facts(database) - before < 10 * count

    # Where something is broken, it is sought by another statement.
    execute(
        database,
        f"UPDATE {FACTS} SET sites_id = 99 WHERE calls_id = (SELECT c.id FROM {CALLS} AS c"
        " JOIN general_accounts AS a USING (account_id)"
        " WHERE a.name = 'new_office' AND c.call_id = 7)",
    )
    before = _count_read_facts(database)
    assert [one.sample for one in inspect_days(database, new, [DAY]).broken] == [(7,)]
    assert _count_read_facts(database) - before < 10 * count


def _count_read_facts(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables WHERE relname = %s",
            (FACTS,),
        ).fetchone()
    assert row is not None
    return int(row[0])


def test_an_unknown_source_has_nothing_to_check(database: str) -> None:
    load_two_days(database)
    nobody = Account("nobody", "Nobody", MOSCOW)
    assert check_keys_unique(database, nobody, DAY, DAY) == []
    inspection = inspect_days(database, nobody, [DAY])
    assert inspection.broken == []
    assert inspection.rows == {DAY: {CALLS: 0, FACTS: 0}}


def test_days_with_non_final_calls_are_reported_within_bounds(database: str) -> None:
    load_two_days(database)
    assert unsettled_days(database, MAIN.name, MOSCOW, NEXT_DAY + timedelta(days=9)) == [NEXT_DAY]
    assert unsettled_days(database, MAIN.name, MOSCOW, NEXT_DAY) == []
    later = NEXT_DAY + timedelta(days=1)
    assert unsettled_days(database, MAIN.name, MOSCOW, later, since=later) == []


def test_the_status_tells_days_calls_and_rows(database: str) -> None:
    load_two_days(database)
    (status,) = source_statuses(database, [MAIN.name, "nobody"], datetime(2026, 1, 1, tzinfo=UTC))
    assert (status.name, status.caption) == ("main_office", "Main office")
    assert (status.first_day, status.last_day, status.days, status.calls) == (DAY, NEXT_DAY, 2, 5)
    assert (status.rows_updated, status.rows_deleted) == (0, 0)
    assert status.rows_added > 10
    assert status.last_load is not None
