"""Reconciliation in a real PostgreSQL: what differs is found by call and parameter, and healed.

Days are small and made by hand; the whole way from the source is tested in `assets/`.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from callkeeper_assets.raw.store import Day
from callkeeper_assets.reconcile.discrepancies import ComparedDay, Mode
from callkeeper_assets.reconcile.reconciliation import reconcile_days
from callkeeper_assets.warehouse.filters import Filter
from callkeeper_assets.warehouse.migrate import ensure_schema
from callkeeper_assets.warehouse.records import Guard, RefusedDay
from callkeeper_assets.warehouse.tables import SELECTABLE_TABLES
from callkeeper_assets_tests.templates import from_nothing
from callkeeper_assets_tests.warehouse.raw_days import (
    DAY,
    MAIN,
    call,
    day_of,
    load_all,
    moment_of,
    raw_day,
    rows,
)
from callkeeper_assets_tests.warehouse.raw_days import fetched as fetched_at

NEXT = DAY + timedelta(days=1)
FOUND = tuple[int, str, str, str | None, str | None, bool]


def reconcile(
    url: str,
    days: Sequence[Day],
    *,
    mode: Mode = "heal",
    run_id: str = "reconciliation",
    tables: Sequence[str] = SELECTABLE_TABLES,
    filters: Mapping[str, Sequence[Filter]] | None = None,
    guard: Guard | None = None,
) -> list[ComparedDay]:
    """Reconcile days, of which none may be refused."""
    ensure_schema(url)
    results = list(
        reconcile_days(
            url,
            MAIN,
            days,
            tables=tables,
            filters=filters or {},
            run_id=run_id,
            mode=mode,
            guard=guard,
        )
    )
    assert not any(isinstance(result, RefusedDay) for result in results), results
    return [result for result in results if isinstance(result, ComparedDay)]


def found(days: Sequence[ComparedDay]) -> list[FOUND]:
    """Return what was found, in order."""
    return [
        (d.call_id, d.parameter, d.kind, d.warehouse_value, d.source_value, d.is_healed)
        for day in days
        for d in day.discrepancies
    ]


def change(url: str, statement: str) -> None:
    """Break something."""
    with psycopg.connect(url) as connection:
        connection.execute(statement.encode())


def log(url: str) -> list[tuple[Any, ...]]:
    """Return the log: the call, the parameter, whether it is healed, and by which runs."""
    return rows(
        url,
        "SELECT call_id, parameter, healed_at IS NOT NULL, run_id, healed_run_id "
        "FROM callkeeper_discrepancies ORDER BY found_at, call_id, parameter",
    )


def delete(url: str, call_id: int) -> None:
    """Delete a call and its facts."""
    change(
        url,
        "DELETE FROM callkeeper_calls_facts WHERE calls_id = "
        f"(SELECT id FROM callkeeper_calls WHERE call_id = {call_id})",
    )
    change(url, f"DELETE FROM callkeeper_calls WHERE call_id = {call_id}")


def set_fact(url: str, call_id: int, assignment: str) -> None:
    """Break a call's facts."""
    change(
        url,
        f"UPDATE callkeeper_calls_facts SET {assignment} WHERE calls_id = "
        f"(SELECT id FROM callkeeper_calls WHERE call_id = {call_id})",
    )


@from_nothing
def test_each_kind_is_found_by_call_and_parameter_and_healed(database: str) -> None:
    load_all(database, [day_of(DAY, [call(n) for n in range(1, 8)])])
    set_fact(database, 1, "duration_sec = 66, asr_attempts = 3")
    set_fact(database, 2, "attempt = NULL")
    delete(database, 3)
    now = day_of(DAY, [call(n) for n in range(1, 7)])
    results = reconcile(database, [now])
    assert found(results) == [
        (1, "asr_attempts", "differs", "3", None, True),
        (1, "duration_sec", "differs", "66", "65", True),
        (2, "attempt", "differs", None, "1", True),
        (3, "call_id", "missing_in_warehouse", None, "3", True),
        (7, "call_id", "missing_in_source", "7", None, True),
    ]
    assert [(day.day, day.calls) for day in results] == [(DAY, 7)]
    assert results[0].loaded is not None
    assert results[0].loaded.counts["callkeeper_calls_facts"].updated == 2
    assert log(database) == [
        (n, parameter, True, "reconciliation", "reconciliation")
        for n, parameter, *_ in found(results)
    ]
    assert found(reconcile(database, [now], run_id="again")) == []
    assert len(log(database)) == 5


@pytest.mark.parametrize("mode", ["log", "dry_run"])
def test_without_healing_everything_stays_and_only_the_log_may_be_written(
    database: str, mode: Mode
) -> None:
    load_all(database, [day_of(DAY, [call(n) for n in range(1, 8)])])
    set_fact(database, 1, "duration_sec = 66")
    before = rows(database, "SELECT *, xmin FROM callkeeper_calls_facts ORDER BY calls_id")
    results = reconcile(database, [day_of(DAY, [call(n) for n in range(1, 8)])], mode=mode)
    assert found(results) == [(1, "duration_sec", "differs", "66", "65", False)]
    assert results[0].loaded is None
    assert rows(database, "SELECT *, xmin FROM callkeeper_calls_facts ORDER BY calls_id") == before
    assert len(rows(database, "SELECT DISTINCT run_id FROM callkeeper_loads")) == 1
    assert log(database) == (
        [(1, "duration_sec", False, "reconciliation", None)] if mode == "log" else []
    )


def test_an_open_discrepancy_has_one_row_however_often_it_is_found(database: str) -> None:
    today = day_of(DAY, [call(n) for n in range(1, 4)])
    load_all(database, [today])
    set_fact(database, 1, "duration_sec = 66")
    set_fact(database, 2, "attempt = 9")
    reconcile(database, [today], mode="log", run_id="first")
    found_at = rows(database, "SELECT call_id, found_at FROM callkeeper_discrepancies ORDER BY 1")
    set_fact(database, 1, "duration_sec = 67")
    set_fact(database, 2, "attempt = 1")
    again = reconcile(database, [today], mode="log", run_id="second")
    assert found(again) == [(1, "duration_sec", "differs", "67", "65", False)]
    assert log(database) == [
        (1, "duration_sec", False, "first", None),
        (2, "attempt", True, "first", None),
    ]
    healed = reconcile(database, [today], run_id="third")
    assert found(healed) == [(1, "duration_sec", "differs", "67", "65", True)]
    assert log(database)[0] == (1, "duration_sec", True, "first", "third")
    assert (
        rows(database, "SELECT call_id, found_at FROM callkeeper_discrepancies ORDER BY 1")
        == found_at
    )
    set_fact(database, 1, "duration_sec = 66")
    reconcile(database, [today], run_id="fourth")
    assert log(database)[-1] == (1, "duration_sec", True, "fourth", "fourth")


def test_a_step_that_runs_again_tells_of_its_first_try_and_logs_nothing_twice(
    database: str,
) -> None:
    today = day_of(DAY, [call(n) for n in range(1, 4)])
    load_all(database, [today])
    set_fact(database, 1, "duration_sec = 66")
    reconcile(database, [today])
    assert found(reconcile(database, [today])) == [(1, "duration_sec", "differs", "66", "65", True)]
    set_fact(database, 1, "duration_sec = 67")
    assert found(reconcile(database, [today])) == [(1, "duration_sec", "differs", "67", "65", True)]
    assert len(log(database)) == 1


def test_what_healing_cannot_change_is_left_open(database: str) -> None:
    today = day_of(DAY, [call(n) for n in range(1, 4)])
    load_all(database, [today])
    set_fact(database, 1, "duration_sec = 66")
    change(
        database,
        "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    )
    change(
        database,
        "CREATE TRIGGER keep BEFORE UPDATE ON callkeeper_calls_facts "
        "FOR EACH ROW EXECUTE FUNCTION keep()",
    )
    assert found(reconcile(database, [today])) == [
        (1, "duration_sec", "differs", "66", "65", False)
    ]
    assert log(database) == [(1, "duration_sec", False, "reconciliation", None)]


def test_filters_hold_on_both_sides(database: str) -> None:
    """A call that the filter leaves out is no discrepancy, though the warehouse still has it."""
    failed = {"status_code": "200", "status2_code": "486"}
    today = day_of(DAY, [call(1), call(2, **failed), call(3), call(4, **failed)])
    load_all(database, [today])
    delete(database, 4)
    filters = {"callkeeper_calls": [Filter("status", "eq", "success")]}
    set_fact(database, 2, "duration_sec = 66")
    set_fact(database, 3, "duration_sec = 66")
    results = reconcile(database, [today], filters=filters, mode="log")
    assert found(results) == [(3, "duration_sec", "differs", "66", "65", False)]
    assert results[0].calls == 2
    facts_only = {"callkeeper_calls_facts": [Filter("status", "eq", "success")]}
    assert found(reconcile(database, [today], filters=facts_only, mode="dry_run")) == [
        (3, "duration_sec", "differs", "66", "65", False),
        (4, "call_id", "missing_in_warehouse", None, "4", False),
    ]


def test_calls_that_are_not_final_on_either_side_are_counted_apart(database: str) -> None:
    going_on = {"status_code": "1", "status2_code": "0"}
    load_all(database, [day_of(DAY, [call(1, **going_on), call(2), call(3, **going_on), call(5)])])
    now = day_of(DAY, [call(1, duration_sec=9), call(2, **going_on), call(4, **going_on), call(5)])
    results = reconcile(database, [now])
    assert found(results) == []
    assert (results[0].calls, results[0].non_final) == (1, 4)
    assert found(reconcile(database, [now], run_id="again")) == []


def test_calls_of_webhooks_are_no_discrepancies_until_their_grace_is_over(database: str) -> None:
    today = day_of(DAY, [call(n) for n in range(1, 4)])
    load_all(database, [today])
    change(database, "UPDATE callkeeper_calls SET origin = 'webhook' WHERE call_id IN (1, 2)")
    set_fact(database, 1, "duration_sec = NULL")
    answer = day_of(DAY, [call(1), call(3)])
    early = fetched_at(answer, moment_of(DAY, 0))
    results = reconcile(database, [early], mode="dry_run")
    assert (found(results), results[0].calls, results[0].waiting) == ([], 1, 2)
    late = fetched_at(answer, moment_of(DAY, 2))
    results = reconcile(database, [late], mode="dry_run")
    assert [one[:3] for one in found(results)] == [
        (1, "duration_sec", "differs"),
        (2, "call_id", "missing_in_source"),
    ]
    assert results[0].waiting == 0

    (healed,) = reconcile(database, [early])
    origins = "SELECT call_id, origin FROM callkeeper_calls ORDER BY call_id"
    assert rows(database, origins) == [(1, "api"), (2, "webhook"), (3, "api")]
    assert healed.discrepancies == ()


def test_without_facts_only_the_calls_themselves_are_compared(database: str) -> None:
    tables = ["general_dates", "callkeeper_calls"]
    today = day_of(DAY, [call(1), call(2)])
    load_all(database, [today], tables=tables)
    delete(database, 2)
    now = day_of(DAY, [call(1, duration_sec=99), call(2)])
    assert found(reconcile(database, [now], tables=tables)) == [
        (2, "call_id", "missing_in_warehouse", None, "2", True)
    ]


def test_a_call_without_its_facts_is_missing(database: str) -> None:
    today = day_of(DAY, [call(1), call(2)])
    load_all(database, [today])
    change(
        database,
        "DELETE FROM callkeeper_calls_facts WHERE calls_id IN (SELECT min(id) FROM "
        "callkeeper_calls)",
    )
    assert found(reconcile(database, [today])) == [
        (1, "call_id", "missing_in_warehouse", None, "1", True)
    ]
    assert found(reconcile(database, [today], run_id="again")) == []


def test_a_call_on_another_day_is_missing_on_its_own(database: str) -> None:
    days = [day_of(DAY, [call(1), call(2)]), day_of(NEXT, [call(3)])]
    load_all(database, days)
    change(
        database,
        "UPDATE callkeeper_calls SET called_at = called_at + interval '1 day' WHERE call_id = 2",
    )
    results = reconcile(database, days)
    assert found(results) == [
        (2, "call_id", "missing_in_warehouse", None, "2", True),
        (2, "call_id", "missing_in_source", "2", None, True),
    ]
    assert [len(day.discrepancies) for day in results] == [1, 1]
    assert found(reconcile(database, days, run_id="again")) == []


@pytest.mark.parametrize("mode", ["heal", "log", "dry_run"])
def test_a_day_that_the_guard_refuses_is_left_alone_and_the_others_are_not(
    database: str, mode: Mode
) -> None:
    load_all(database, [day_of(DAY, [call(n) for n in range(1, 4)]), day_of(NEXT, [call(9)])])
    set_fact(database, 9, "attempt = 4")
    refused, compared = reconcile_days(
        database,
        MAIN,
        [raw_day(DAY, []), day_of(NEXT, [call(9)])],
        tables=SELECTABLE_TABLES,
        filters={},
        run_id="run",
        mode=mode,
        guard=Guard(command="reconcile"),
    )
    assert isinstance(refused, RefusedDay)
    assert refused.reason == (
        "main_office, 2026-03-02: the source sends no calls for a day that had 3. The day is left "
        "as it was. If this is right, run `callkeeper reconcile main_office --from 2026-03-02 "
        "--to 2026-03-02 --force`."
    )
    assert isinstance(compared, ComparedDay)
    assert found([compared]) == [(9, "attempt", "differs", "4", "1", mode == "heal")]
    assert len(log(database)) == (mode != "dry_run")
    assert rows(database, "SELECT count(*) FROM callkeeper_calls") == [(4,)]


def test_with_force_an_empty_answer_heals_by_deleting(database: str) -> None:
    load_all(database, [day_of(DAY, [call(n) for n in range(1, 4)])])
    results = reconcile(database, [raw_day(DAY, [])], guard=None)
    assert [one[1:3] for one in found(results)] == [("call_id", "missing_in_source")] * 3
    assert rows(database, "SELECT count(*) FROM callkeeper_calls") == [(0,)]


def test_looking_at_an_unknown_source_makes_no_row_of_it(database: str) -> None:
    results = reconcile(database, [day_of(DAY, [call(1)])], mode="dry_run")
    assert found(results) == [(1, "call_id", "missing_in_warehouse", None, "1", False)]
    assert rows(database, "SELECT count(*) FROM general_accounts") == [(1,)]
    assert found(reconcile(database, [day_of(DAY, [call(1)])], mode="heal"))[0][5] is True
