"""Whatever the order of loads and changes, the tables are those of one clean load.

Hypothesis makes the sequences; the oracle is a load of the last state into an empty account.
"""

import json
from collections.abc import Iterator
from datetime import timedelta

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callkeeper_assets.raw.store import Day
from callkeeper_assets.warehouse.records import Account
from callkeeper_assets_tests.extent import examples
from callkeeper_assets_tests.warehouse.raw_days import (
    DAY,
    MOSCOW,
    call,
    changes,
    load_all,
    moment_of,
    raw_day,
    rows,
)

DAYS = [DAY + timedelta(days=n) for n in range(3)]
CALLS, FACTS = "callkeeper_calls", "callkeeper_calls_facts"

# A day's calls: id -> (tags, site, duration), each of few values so that calls repeat and change.
Calls = dict[int, tuple[str | None, str | None, int | None]]
VALUES = st.tuples(
    st.sampled_from([None, "a", "b"]),
    st.sampled_from([None, "x.example", "y.example"]),
    st.sampled_from([None, 0, 5]),
)


def calls_of(day: int) -> st.SearchStrategy[Calls]:
    """Ids of different days differ: a call on two days at once is the source's contradiction."""
    return st.dictionaries(st.integers(day * 10, day * 10 + 5), VALUES, max_size=6)


LOADS = st.lists(
    st.dictionaries(st.integers(0, 2), st.none(), min_size=1).flatmap(
        lambda days: st.fixed_dictionaries({day: calls_of(day) for day in days})
    ),
    min_size=1,
    max_size=4,
)


def tables(url: str, name: str) -> list[tuple[object, ...]]:
    """Return everything that a report could see of a source, without surrogate ids."""
    return rows(
        url,
        f"""
        SELECT c.call_id, c.called_at, c.tags, c.status, s.domain, d.full_date, v.clientid,
            f.duration_sec, f.attempt
        FROM general_accounts a
        JOIN {CALLS} c ON c.account_id = a.account_id
        JOIN {FACTS} f ON f.account_id = c.account_id AND f.calls_id = c.id
        JOIN general_sites s ON s.id = f.sites_id
        JOIN general_dates d ON d.id = f.dates_id
        JOIN general_clientids v ON v.id = f.clientids_id
        WHERE a.name = '{name}' ORDER BY c.call_id
        """,
    )


def expected_changes(before: Calls, after: Calls) -> dict[str, tuple[int, int, int]]:
    """Compute what a load of one day has to report for calls and facts."""
    both = before.keys() & after.keys()
    added, deleted = len(after.keys() - before.keys()), len(before.keys() - after.keys())
    counts = {
        CALLS: (added, sum(before[n][0] != after[n][0] for n in both), deleted),
        FACTS: (added, sum(before[n][1:] != after[n][1:] for n in both), deleted),
    }
    return {table: c for table, c in counts.items() if any(c)}


@pytest.fixture
def accounts() -> Iterator[Account]:
    """Names of accounts that no example used before: examples share the database."""
    return (Account(f"source_{n}", "Source", MOSCOW) for n in range(10_000))


@settings(max_examples=examples(3))
@given(loads=LOADS)
def test_any_sequence_of_loads_ends_like_a_clean_load(
    database: str, accounts: Iterator[Account], loads: list[dict[int, Calls]]
) -> None:
    changed, clean = next(accounts), next(accounts)
    state: dict[int, Calls] = {}
    for one in loads:
        for result in load_all(database, raw_days(one), changed, force=True):
            day = DAYS.index(result.day)
            found = changes([result])
            assert {t: c for t, c in found.items() if t in {CALLS, FACTS}} == expected_changes(
                state.get(day, {}), one[day]
            )
            state[day] = one[day]
    load_all(database, raw_days(state), clean, force=True)
    assert tables(database, changed.name) == tables(database, clean.name)
    with psycopg.connect(database) as connection:
        orphans = connection.execute(
            f"SELECT count(*) FROM {FACTS} f LEFT JOIN {CALLS} c ON c.id = f.calls_id "
            "WHERE c.id IS NULL".encode()
        ).fetchone()
    assert orphans == (0,)


def raw_days(state: dict[int, Calls]) -> Iterator[Day]:
    """Turn a state into raw days; a call's minute follows from its id, so that it stays."""
    for day, calls in sorted(state.items()):
        yield raw_day(
            DAYS[day],
            (
                (
                    n,
                    moment_of(DAYS[day], n),
                    json.dumps(call(n, tags=tags, site=site, duration_sec=duration)),
                )
                for n, (tags, site, duration) in calls.items()
            ),
        )
