"""Whatever was broken and however the source changed: found is what differs, and nothing else.

Hypothesis breaks; the oracle compares two dictionaries. Every other row keeps its `xmin`, the log
holds nothing twice, and the tables are the source's after it.
"""

import json
from collections.abc import Iterator
from datetime import date, timedelta

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callkeeper_assets.raw.store import Day
from callkeeper_assets.reconcile.discrepancies import NUMBERS, ComparedDay, Mode
from callkeeper_assets.reconcile.reconciliation import reconcile_days
from callkeeper_assets.warehouse.records import Account
from callkeeper_assets.warehouse.tables import SELECTABLE_TABLES
from callkeeper_assets_tests.extent import examples
from callkeeper_assets_tests.warehouse.raw_days import (
    DAY,
    MOSCOW,
    call,
    load_all,
    moment_of,
    raw_day,
    rows,
)

DAYS = [DAY + timedelta(days=n) for n in range(2)]

# A call's five numbers, of few values so that they meet; by day, by id.
Numbers = tuple[int | None, ...]
Side = dict[date, dict[int, Numbers]]
Key = tuple[date, int, str, str, str | None, str | None]

NUMBERS_OF_CALL = st.tuples(*[st.sampled_from([None, 0, 7])] * len(NUMBERS))


def calls_of(day: int) -> st.SearchStrategy[dict[int, Numbers]]:
    """Ids of different days differ: a call on two days at once is the source's contradiction."""
    return st.dictionaries(st.integers(day * 10, day * 10 + 5), NUMBERS_OF_CALL, max_size=6)


SIDES = st.tuples(*[calls_of(n) for n in range(len(DAYS))]).map(
    lambda days: dict(zip(DAYS, days, strict=True))
)
# Before it is healed, a state may be looked at, or noted, any number of times.
MODES: st.SearchStrategy[list[Mode]] = st.lists(st.sampled_from(["log", "dry_run"]), max_size=3)


def as_days(side: Side) -> list[Day]:
    """Return a side as the source sends it; a call's minute is its own, whoever else is there."""
    return [
        raw_day(
            day,
            (
                (n, moment_of(day, n), json.dumps(call(n, **dict(zip(NUMBERS, v, strict=True)))))
                for n, v in side[day].items()
            ),
        )
        for day in DAYS
    ]


def compare(warehouse: Side, source: Side) -> set[Key]:
    """Compute what has to be found."""
    found: set[Key] = set()
    for day in DAYS:
        have, want = warehouse[day], source[day]
        found |= {
            (day, n, "call_id", "missing_in_warehouse", None, str(n)) for n in want.keys() - have
        }
        found |= {
            (day, n, "call_id", "missing_in_source", str(n), None) for n in have.keys() - want
        }
        for n in have.keys() & want:
            for name, held, said in zip(NUMBERS, have[n], want[n], strict=True):
                if held != said:
                    texts = (None if value is None else str(value) for value in (held, said))
                    found.add((day, n, name, "differs", *texts))  # type: ignore[arg-type]
    return found


def break_warehouse(url: str, name: str, broken: Side) -> None:
    """Bring a loaded account to a state by SQL: numbers changed, rows deleted."""
    account = f"(SELECT account_id FROM general_accounts WHERE name = '{name}')"
    with psycopg.connect(url) as connection:
        ids = [n for day in DAYS for n in broken[day]]
        connection.execute(
            f"DELETE FROM callkeeper_calls_facts WHERE account_id = {account} AND calls_id NOT IN "
            "(SELECT id FROM callkeeper_calls WHERE call_id = ANY(%s))".encode(),
            (ids,),
        )
        connection.execute(
            f"DELETE FROM callkeeper_calls WHERE account_id = {account} "
            "AND NOT call_id = ANY(%s)".encode(),
            (ids,),
        )
        for day in DAYS:
            for n, values in broken[day].items():
                assignments = ", ".join(f"{number} = %s" for number in NUMBERS)
                connection.execute(
                    f"UPDATE callkeeper_calls_facts SET {assignments} "
                    f"WHERE account_id = {account} AND calls_id = (SELECT id FROM callkeeper_calls "
                    f"WHERE account_id = {account} AND call_id = {n}) AND "
                    f"({', '.join(NUMBERS)}) IS DISTINCT FROM "
                    f"({', '.join(['%s::integer'] * len(NUMBERS))})".encode(),
                    (*values, *values),
                )


def versions(url: str, name: str) -> dict[int, tuple[object, ...]]:
    """Return which version of its rows each call has."""
    return {
        call_id: tuple(rest)
        for call_id, *rest in rows(
            url,
            "SELECT c.call_id, c.xmin::text, f.xmin::text FROM general_accounts a "
            "JOIN callkeeper_calls c ON c.account_id = a.account_id "
            "JOIN callkeeper_calls_facts f ON f.calls_id = c.id "
            f"WHERE a.name = '{name}'",
        )
    }


def log_of(url: str, name: str) -> list[tuple[object, ...]]:
    """Return an account's log."""
    return rows(
        url,
        "SELECT d.day, d.call_id, d.parameter, d.kind, d.warehouse_value, d.source_value, "
        "d.healed_at IS NOT NULL FROM callkeeper_discrepancies d "
        f"JOIN general_accounts a USING (account_id) WHERE a.name = '{name}'",
    )


@pytest.fixture
def names() -> Iterator[str]:
    """Names of accounts: one for each example."""
    return iter(f"account_{n}" for n in range(10_000))


def reconcile(url: str, name: str, source: Side, mode: Mode, run_id: str) -> set[Key]:
    """Reconcile and return what was found."""
    results = list(
        reconcile_days(
            url,
            Account(name, name, MOSCOW),
            as_days(source),
            tables=SELECTABLE_TABLES,
            filters={},
            run_id=run_id,
            mode=mode,
            guard=None,
        )
    )
    found = [d for day in results if isinstance(day, ComparedDay) for d in day.discrepancies]
    assert {one.is_healed for one in found} <= {mode == "heal"}
    keys: set[Key] = {
        (d.day, d.call_id, d.parameter, d.kind, d.warehouse_value, d.source_value) for d in found
    }
    assert len(keys) == len(found)
    return keys


@settings(max_examples=examples(2))
@given(states=st.tuples(SIDES, SIDES, SIDES), modes=MODES)
def test_found_is_what_differs_and_healing_leaves_every_other_row(
    database: str, names: Iterator[str], states: tuple[Side, Side, Side], modes: list[Mode]
) -> None:
    name, (loaded, broken, source) = next(names), states
    load_all(database, as_days(loaded), Account(name, name, MOSCOW), force=True)
    # Only what is loaded can be broken: rows that nobody loaded are the source's late calls.
    kept = {day: {n: v for n, v in broken[day].items() if n in loaded[day]} for day in DAYS}
    break_warehouse(database, name, kept)
    expected = compare(kept, source)
    before = versions(database, name)

    for number, mode in enumerate(modes):
        assert reconcile(database, name, source, mode, f"{name} {number}") == expected
    assert len(log_of(database, name)) == (len(expected) if "log" in modes else 0)
    assert versions(database, name) == before

    assert reconcile(database, name, source, "heal", f"{name} heal") == expected
    assert set(log_of(database, name)) == {(*key, True) for key in expected}
    assert len(log_of(database, name)) == len(expected)
    touched = {key[1] for key in expected}
    after = versions(database, name)
    assert after.keys() == {n for day in DAYS for n in source[day]}
    assert {n: v for n, v in after.items() if n not in touched} == {
        n: v for n, v in before.items() if n not in touched
    }
    assert reconcile(database, name, source, "heal", f"{name} again") == set()
    assert len(log_of(database, name)) == len(expected)
