"""Kill -9 of a load at each of its steps: nothing is half done, and the next load mends it."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pytest

from callkeeper_assets.raw.store import RawStore
from callkeeper_assets.simulator.server import RunningSimulator
from callkeeper_assets_tests.chaos.holds import hold, wait_for_servers_end_of_it
from callkeeper_assets_tests.chaos.installation import SOURCE, Installation
from callkeeper_assets_tests.chaos.rounds import DAYS, FIRST, LAST, Round, begin_round, kill
from callkeeper_assets_tests.extent import one_of
from callkeeper_assets_tests.processes import children_of
from callkeeper_assets_tests.raw.stored import stored_ids
from callkeeper_assets_tests.waiting import wait_until

# The first transaction of a load holds so many days (the loader's own measure).
_FIRST_BATCH: Final = 31

# What a load's process waits for, by the step that it is killed in. The tables of calls are
# written one after the other; then the days, the account and the log, all in one transaction.
_STEPS: Final = {
    "compares with what is there": "LOCK TABLE callkeeper_calls IN ACCESS EXCLUSIVE MODE",
    "writes calls": "LOCK TABLE callkeeper_calls IN EXCLUSIVE MODE",
    "writes facts": "LOCK TABLE callkeeper_calls_facts IN EXCLUSIVE MODE",
    "has merged and not logged": "LOCK TABLE callkeeper_loads IN EXCLUSIVE MODE",
}


@contextmanager
def _hanging_from(simulator: RunningSimulator, position: int) -> Iterator[None]:
    """The source answers no day from this one on, as long as the block lasts."""
    account = simulator.account(SOURCE)
    busiest = max(len(account.truth(day, day).calls) for day in DAYS)
    for day in DAYS[position:]:
        account.add(day, 2 * busiest)
    account.set_answers(max_calls=2 * busiest, over_limit="hang", hang_sec=600)
    try:
        yield
    finally:
        account.set_answers(max_calls=None)


@pytest.mark.chaos
def test_a_load_killed_while_it_fetches_keeps_whole_days_and_is_mended(
    loaded: Installation, simulator: RunningSimulator
) -> None:
    with _hanging_from(simulator, 10):
        round_ = begin_round(loaded, simulator)
        # What the hang needed is a change of facts, too: the warehouse has not got it.
        store = RawStore(str(loaded.home / "raw"))
        worker = loaded.start_worker(FIRST, LAST)
        wait_until(
            lambda: stored_ids(store, SOURCE, DAYS[9]) == round_.new[DAYS[9]].keys(),
            "the day before the hanging one is stored",
        )
        run_id = kill(worker)
        wait_for_servers_end_of_it(loaded)
    (status,) = loaded.query("SELECT status FROM dagster.runs WHERE run_id = %s", run_id)
    assert status == ("STARTED",)
    assert loaded.query("SELECT count(*) FROM callkeeper_loads WHERE run_id = %s", run_id) == [(0,)]
    round_.mend()
    round_.check_marked_as_failed(run_id)


@pytest.mark.parametrize("step", one_of(_STEPS, "has merged and not logged"))
def test_a_load_killed_when_it(step: str, round_: Round) -> None:
    with hold(round_.installation, _STEPS[step]) as held:
        worker = round_.installation.start_worker(FIRST, LAST)
        held.wait_for_somebody()
        run_id = kill(worker)
    wait_for_servers_end_of_it(round_.installation)
    assert round_.find_changed_days(run_id) == set()
    ended = round_.mend()
    assert ended.changes()["callkeeper_calls_facts"] == (len(DAYS), 2 * len(DAYS), len(DAYS))
    round_.check_marked_as_failed(run_id)


@pytest.mark.chaos
def test_a_load_killed_between_two_transactions_keeps_the_first(round_: Round) -> None:
    in_second = DAYS[_FIRST_BATCH + 1]
    row = f"SELECT 1 FROM callkeeper_days WHERE day = '{in_second}' FOR UPDATE"
    with hold(round_.installation, row) as held:
        worker = round_.installation.start_worker(FIRST, LAST)
        held.wait_for_somebody()
        run_id = kill(worker)
    wait_for_servers_end_of_it(round_.installation)
    assert round_.find_changed_days(run_id) == set(DAYS[:_FIRST_BATCH])
    ended = round_.mend()
    left = len(DAYS) - _FIRST_BATCH
    assert ended.changes()["callkeeper_calls_facts"] == (left, 2 * left, left)
    round_.check_marked_as_failed(run_id)


@pytest.mark.chaos
def test_a_load_killed_when_all_is_loaded_and_dagster_does_not_know(round_: Round) -> None:
    installation = round_.installation
    row = f"SELECT 1 FROM callkeeper_days WHERE day = '{LAST}' FOR UPDATE"
    with hold(installation, row) as held:
        worker = installation.start_worker(FIRST, LAST)
        held.wait_for_somebody()
        with hold(installation, "LOCK TABLE dagster.event_logs IN EXCLUSIVE MODE") as untold:
            held.release()
            untold.wait_for_somebody()
            run_id = kill(worker)
    wait_for_servers_end_of_it(installation)
    assert round_.find_changed_days(run_id) == set(DAYS)
    ended = round_.mend()
    assert set(ended.changes().values()) == {(0, 0, 0)}
    round_.check_marked_as_failed(run_id)


@pytest.mark.chaos
def test_a_load_whose_command_is_killed_ends_by_itself_and_says_so(round_: Round) -> None:
    installation = round_.installation
    with hold(installation, "LOCK TABLE callkeeper_loads IN EXCLUSIVE MODE") as held:
        arguments = ("load", SOURCE, "--from", str(FIRST), "--to", str(LAST))
        command = installation.start("callkeeper_assets.cli.main", *arguments, is_warm=False)
        held.wait_for_somebody()
        command.kill()
        command.communicate(timeout=60)
    wait_for_servers_end_of_it(installation)
    [(run_id, status)] = installation.query(
        "SELECT run_id, status FROM dagster.runs ORDER BY id DESC LIMIT 1"
    )
    assert status == "FAILURE"
    assert round_.find_changed_days(run_id) == set()
    round_.mend()
    round_.check_marked_as_failed(run_id)


def test_a_command_whose_load_is_killed_says_so_and_what_to_do(round_: Round) -> None:
    installation = round_.installation
    with hold(installation, "LOCK TABLE callkeeper_calls IN EXCLUSIVE MODE") as held:
        arguments = ("load", SOURCE, "--from", str(FIRST), "--to", str(LAST))
        command = installation.start("callkeeper_assets.cli.main", *arguments, is_warm=False)
        held.wait_for_somebody()
        [worker] = children_of(command.pid)
        os.kill(worker, signal.SIGKILL)
        _, stderr = command.communicate(timeout=60)
    assert command.returncode == 1
    assert f"{SOURCE}: the process of the load was killed (signal 9)" in stderr
    assert "Days loaded so far stay loaded. Run the command again." in stderr
    wait_for_servers_end_of_it(installation)
    round_.mend()


def test_a_key_that_an_ended_run_still_holds_is_freed_by_the_next_load(round_: Round) -> None:
    """Left behind by an interrupt between two steps, found by killing commands at random."""
    installation = round_.installation
    pool, step = f"callkeeper_{SOURCE}_api_key", f"{SOURCE}__raw_calls"
    with installation.connect() as connection:
        connection.execute(
            "UPDATE dagster.concurrency_slots SET step_key = %s, run_id = ("
            " SELECT run_id FROM dagster.runs WHERE status = 'SUCCESS' ORDER BY id DESC LIMIT 1)"
            " WHERE concurrency_key = %s",
            (step, pool),
        )
        connection.execute(
            "INSERT INTO dagster.pending_steps"
            " (concurrency_key, run_id, step_key, priority, assigned_timestamp)"
            " SELECT concurrency_key, run_id, step_key, 0, now() FROM dagster.concurrency_slots"
            " WHERE concurrency_key = %s",
            (pool,),
        )
    assert installation.query("SELECT count(*) FROM dagster.pending_steps") == [(1,)]
    round_.mend()
    assert installation.query("SELECT count(*) FROM dagster.pending_steps") == [(0,)]
