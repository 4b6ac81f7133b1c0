"""Runs that wait in the queue behind a long one all succeed, however long they wait."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from typing import Final

import dagster as dg
import pytest

from callkeeper_assets.dagster_ext.dead_runs import mark_dead_runs
from callkeeper_assets.home import set_dagster_home
from callkeeper_assets.simulator.server import RunningSimulator
from callkeeper_assets.simulator.settings import Fault
from callkeeper_assets_tests.chaos.daemon_runs import DaemonRuns
from callkeeper_assets_tests.chaos.installation import SOURCE, Installation
from callkeeper_assets_tests.e2e.dev import run_dev
from callkeeper_assets_tests.waiting import wait_until

# The long run asks for these days four at a time.
_LONG: Final = (date(2026, 1, 1), date(2026, 1, 16))
_NEXT: Final = date(2026, 2, 1)
_STATUSES: Final = "SELECT status, count(*) FROM dagster.runs GROUP BY 1"
_AGE: Final = """
    UPDATE dagster.runs SET create_timestamp = create_timestamp - interval '10 minutes',
        start_time = start_time - 600
"""


def _launch_behind(
    runs: DaemonRuns, simulator: RunningSimulator, count: int, *, seconds: float
) -> list[str]:
    """Start a run whose answers take so long in all, put others behind it; return their ids."""
    answers = (_LONG[1] - _LONG[0]).days + 1
    slow = Fault("latency", seconds=seconds / answers * 4, times=answers)
    simulator.account(SOURCE).set_faults(slow)
    launched = [runs.launch(*_LONG)]
    runs.wait_for_key(launched[0])
    days = [_NEXT + timedelta(days=number) for number in range(count)]
    return launched + [runs.launch(day, day) for day in days]


def _wait_for_all(installation: Installation, seconds: float) -> None:
    """Wait until no run is queued or under way."""
    wait_until(
        lambda: (
            {status for status, _ in installation.query(_STATUSES)}
            <= {"SUCCESS", "FAILURE", "CANCELED"}
        ),
        "all runs have ended",
        seconds,
    )


@contextmanager
def _marking_all_the_time(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[str]]:
    """Look for dead runs again and again, and make every run ten minutes older before it."""
    monkeypatch.setenv("CALLKEEPER_DATABASE_URL", installation.database)
    set_dagster_home()
    marked: list[str] = []
    is_over = threading.Event()

    def mark() -> None:
        with dg.DagsterInstance.get() as instance:
            while not is_over.wait(0.1):
                installation.query(f"{_AGE} RETURNING 1")
                marked.extend(mark_dead_runs(instance, installation.database))

    janitor = threading.Thread(target=mark)
    janitor.start()
    try:
        yield marked
    finally:
        is_over.set()
        janitor.join()


@pytest.mark.chaos
@pytest.mark.e2e
@pytest.mark.timeout(600)
def test_runs_that_left_the_queue_ten_minutes_after_they_came_succeed(
    installation: Installation, simulator: RunningSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        run_dev(installation) as dev,
        _marking_all_the_time(installation, monkeypatch) as marked,
    ):
        runs = DaemonRuns(dev, installation)
        launched = _launch_behind(runs, simulator, 4, seconds=10)
        _wait_for_all(installation, 400)
    assert marked == []
    assert [runs.status(run_id) for run_id in launched] == ["SUCCESS"] * 5


@pytest.mark.chaos
@pytest.mark.timeout(2400)
def test_sixty_runs_behind_a_long_one_succeed(
    installation: Installation, simulator: RunningSimulator
) -> None:
    """The janitor is the daemon's own here, and the wait is a real one."""
    with run_dev(installation) as dev:
        runs = DaemonRuns(dev, installation)
        launched = _launch_behind(runs, simulator, 60, seconds=160)
        _wait_for_all(installation, 2200)
    assert [runs.status(run_id) for run_id in launched] == ["SUCCESS"] * 61
    # Each of them by itself: none was lost, and run again.
    assert [again for run_id in launched for again in runs.list_again(run_id)] == []
