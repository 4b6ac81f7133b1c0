"""Kill -9 of a reconciliation at each step: the next run ends right, the log has no doubles.

The facts change as in the other kills; a round's reconciliation has to find just that.
"""

import subprocess
from datetime import date
from typing import Final

import pytest

from callkeeper_assets.raw.store import RawStore
from callkeeper_assets.simulator.server import RunningSimulator
from callkeeper_assets_tests.chaos.facts import Days, describe_difference, read_days
from callkeeper_assets_tests.chaos.holds import hold, wait_for_servers_end_of_it
from callkeeper_assets_tests.chaos.installation import SOURCE, Installation
from callkeeper_assets_tests.chaos.rounds import (
    DAYS,
    FIRST,
    LAST,
    ZONE,
    Round,
    kill,
)
from callkeeper_assets_tests.extent import one_of
from callkeeper_assets_tests.raw.stored import stored_ids
from callkeeper_assets_tests.waiting import wait_until

# The first transaction holds so many days (the loader's own measure).
_FIRST_BATCH: Final = 31
_PERIOD: Final = ("--from", str(FIRST), "--to", str(LAST))

# What the process waits for, by the step that it is killed in; all but the first inside the
# transaction that heals.
_STEPS: Final = {
    "reads what is there": "LOCK TABLE callkeeper_calls IN ACCESS EXCLUSIVE MODE",
    "heals calls": "LOCK TABLE callkeeper_calls IN EXCLUSIVE MODE",
    "heals facts": "LOCK TABLE callkeeper_calls_facts IN EXCLUSIVE MODE",
    "has healed and not logged": "LOCK TABLE callkeeper_discrepancies IN EXCLUSIVE MODE",
}
_LOGGED: Final = """
    SELECT day, call_id, parameter, kind FROM callkeeper_discrepancies WHERE found_at >= %s
"""
_DOUBLES: Final = """
    SELECT day, call_id, parameter, count(*) FROM callkeeper_discrepancies WHERE found_at >= %s
    GROUP BY 1, 2, 3 HAVING count(*) > 1
"""


def start(installation: Installation) -> "subprocess.Popen[str]":
    """Start the process of a reconciliation, as the command starts it."""
    return installation.start("callkeeper_assets.worker", SOURCE, "--reconcile", *_PERIOD)


def count_by_day(old: Days, new: Days) -> dict[date, int]:
    """Count what has to be found: one came, one went, two have another duration, on every day."""
    return {day: len(old[day].keys() ^ new[day].keys()) + 2 for day in DAYS}


def check_log(round_: Round, days: list[date]) -> None:
    """The log must hold what differed on the days, once each, and nothing of other days."""
    expected = count_by_day(round_.old, round_.new)
    found = round_.installation.query(_LOGGED, round_.began)
    assert round_.installation.query(_DOUBLES, round_.began) == []
    by_day = {day: sum(row[0] == day for row in found) for day in {row[0] for row in found}}
    assert by_day == {day: expected[day] for day in days}
    assert {row[2:] for row in found} <= {
        ("call_id", "missing_in_warehouse"),
        ("call_id", "missing_in_source"),
        ("duration_sec", "differs"),
    }


def finish(round_: Round, *, left: int) -> None:
    """Reconcile again: it finds what the killed one had not healed, and then all is logged once."""
    ended = round_.installation.run("reconcile", SOURCE, *_PERIOD, "--json")
    assert ended.code == 0, ended
    assert (ended.document["found"], ended.document["left"]) == (left, 0)
    found = read_days(round_.installation, FIRST, LAST, ZONE)
    assert describe_difference(found, round_.new) == ""
    check_log(round_, DAYS)
    assert round_.installation.query(
        "SELECT count(*) FROM callkeeper_discrepancies WHERE healed_at IS NULL"
    ) == [(0,)]
    again = round_.installation.run("reconcile", SOURCE, *_PERIOD, "--json")
    assert again.document["found"] == 0
    check_log(round_, DAYS)


@pytest.mark.parametrize("step", one_of(_STEPS, "has healed and not logged"))
def test_a_reconciliation_killed_when_it(step: str, round_: Round) -> None:
    with hold(round_.installation, _STEPS[step]) as held:
        worker = start(round_.installation)
        held.wait_for_somebody()
        run_id = kill(worker)
    wait_for_servers_end_of_it(round_.installation)
    assert round_.find_changed_days(run_id) == set()
    check_log(round_, [])
    finish(round_, left=sum(count_by_day(round_.old, round_.new).values()))
    round_.check_marked_as_failed(run_id)


@pytest.mark.chaos
def test_a_reconciliation_killed_between_two_transactions_keeps_the_first(round_: Round) -> None:
    row = f"SELECT 1 FROM callkeeper_days WHERE day = '{DAYS[_FIRST_BATCH + 1]}' FOR UPDATE"
    with hold(round_.installation, row) as held:
        worker = start(round_.installation)
        held.wait_for_somebody()
        run_id = kill(worker)
    wait_for_servers_end_of_it(round_.installation)
    healed = DAYS[:_FIRST_BATCH]
    assert round_.find_changed_days(run_id) == set(healed)
    check_log(round_, healed)
    expected = count_by_day(round_.old, round_.new)
    finish(round_, left=sum(expected[day] for day in DAYS[_FIRST_BATCH:]))
    round_.check_marked_as_failed(run_id)


@pytest.mark.chaos
def test_a_reconciliation_killed_when_all_is_healed_and_dagster_does_not_know(
    round_: Round,
) -> None:
    installation = round_.installation
    row = f"SELECT 1 FROM callkeeper_days WHERE day = '{LAST}' FOR UPDATE"
    with hold(installation, row) as held:
        worker = start(installation)
        held.wait_for_somebody()
        with hold(installation, "LOCK TABLE dagster.event_logs IN EXCLUSIVE MODE") as untold:
            held.release()
            untold.wait_for_somebody()
            run_id = kill(worker)
    wait_for_servers_end_of_it(installation)
    assert round_.find_changed_days(run_id) == set(DAYS)
    check_log(round_, DAYS)
    finish(round_, left=0)
    round_.check_marked_as_failed(run_id)


@pytest.mark.chaos
def test_a_reconciliation_killed_while_it_fetches_has_changed_whole_days_of_raw_calls_alone(
    round_: Round, simulator: RunningSimulator
) -> None:
    """The fresh raw calls of a day that is not healed yet are kept: the next run heals it."""
    account = simulator.account(SOURCE)
    busiest = max(len(account.truth(day, day).calls) for day in DAYS)
    account.add(DAYS[10], 2 * busiest)
    account.set_answers(max_calls=2 * busiest, over_limit="hang", hang_sec=600)
    store = RawStore(str(round_.installation.home / "raw"))
    try:
        worker = start(round_.installation)
        wait_until(
            lambda: stored_ids(store, SOURCE, DAYS[9]) == round_.new[DAYS[9]].keys(),
            "the day before the hanging one is stored",
        )
        run_id = kill(worker)
    finally:
        account.set_answers(max_calls=None)
    wait_for_servers_end_of_it(round_.installation)
    assert round_.installation.query(_LOGGED, round_.began) == []
    found = read_days(round_.installation, FIRST, LAST, ZONE)
    assert describe_difference(found, round_.old) == ""
    expected = sum(count_by_day(round_.old, round_.new).values()) + 2 * busiest
    ended = round_.installation.run("reconcile", SOURCE, *_PERIOD, "--json")
    assert (ended.code, ended.document["found"], ended.document["left"]) == (0, expected, 0)
    assert round_.installation.query(_DOUBLES, round_.began) == []
    round_.check_marked_as_failed(run_id)
