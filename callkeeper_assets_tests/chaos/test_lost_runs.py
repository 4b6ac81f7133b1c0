"""Runs of the daemon whose process is killed are failed soon, and run again: once, one at a time.

Nobody else's failure is: not what a person cancelled, not what failed by its own error.
"""

import time
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from typing import Final

import pytest

from callkeeper_assets.simulator.server import RunningSimulator
from callkeeper_assets_tests.chaos.daemon_runs import DaemonRuns, start_without_answer
from callkeeper_assets_tests.chaos.installation import SOURCE, Installation
from callkeeper_assets_tests.e2e.dev import run_dev
from callkeeper_assets_tests.waiting import wait_until

_DAY: Final = date(2026, 1, 10)
# The run server notices at once that a process of its own was killed; Dagster's own look comes
# once a minute, and would free a key five minutes after a run's end.
_FAILED_SEC: Final = 45.0
_FREE_SEC: Final = 20.0
_NO_MORE_SEC: Final = 15.0


@pytest.fixture(scope="module")
def runs(installation: Installation, simulator: RunningSimulator) -> Iterator[DaemonRuns]:
    """The runs of one `callkeeper dev` for all tests."""
    assert simulator.base_url
    with run_dev(installation) as dev:
        yield DaemonRuns(dev, installation)


@pytest.mark.e2e
@pytest.mark.timeout(600)
def test_a_killed_run_is_failed_soon_and_run_again(
    runs: DaemonRuns, simulator: RunningSimulator, record_property: Callable[[str, object], None]
) -> None:
    run_id = start_without_answer(runs, simulator, _DAY)
    killed = time.monotonic()
    runs.kill(run_id)
    simulator.account(SOURCE).set_faults()
    runs.wait_for(run_id, "FAILURE", _FAILED_SEC)
    record_property("failed after", time.monotonic() - killed)
    assert runs.measure_key(run_id) < _FREE_SEC
    again = runs.wait_until_again(run_id)
    runs.wait_for(again, "SUCCESS")
    assert runs.list_again(run_id) == [again]
    assert runs.count_at_most() == 1
    loaded = "SELECT count(*) FROM callkeeper_loads WHERE run_id = %s AND error IS NULL"
    assert runs.installation.query(loaded, again) != [(0,)]


@pytest.mark.chaos
@pytest.mark.e2e
@pytest.mark.timeout(600)
def test_a_run_that_is_lost_again_is_not_run_for_ever(
    runs: DaemonRuns, simulator: RunningSimulator
) -> None:
    """What kills its process each time would do so all night."""
    run_id = start_without_answer(runs, simulator, _DAY + timedelta(days=1))
    runs.kill(run_id)
    runs.wait_for(run_id, "FAILURE", _FAILED_SEC)
    again = runs.wait_until_again(run_id)
    runs.wait_for_key(again)
    runs.kill(again)
    runs.wait_for(again, "FAILURE", _FAILED_SEC)
    time.sleep(_NO_MORE_SEC)
    assert runs.list_again(run_id) == [again]
    assert runs.count_at_most() == 1


@pytest.mark.e2e
@pytest.mark.timeout(600)
def test_a_cancelled_run_and_one_that_fails_by_its_own_error_free_their_key_and_are_not_run_again(
    runs: DaemonRuns, simulator: RunningSimulator, record_property: Callable[[str, object], None]
) -> None:
    cancelled = start_without_answer(runs, simulator, _DAY + timedelta(days=2))
    runs.cancel(cancelled)
    wait_until(lambda: runs.status(cancelled) in {"CANCELED", "FAILURE"}, "the run has ended", 90)
    seconds = runs.measure_key(cancelled)
    record_property("key free after", seconds)
    assert seconds < _FREE_SEC

    simulator.account(SOURCE).set_faults()
    simulator.account(SOURCE).set_answers(refusal="wrong_key")
    failed = runs.launch(_DAY + timedelta(days=3), _DAY + timedelta(days=3))
    runs.wait_for(failed, "FAILURE")
    simulator.account(SOURCE).set_answers(refusal="none")
    assert runs.measure_key(failed) < _FREE_SEC
    time.sleep(_NO_MORE_SEC)
    assert [runs.list_again(run_id) for run_id in (cancelled, failed)] == [[], []]
