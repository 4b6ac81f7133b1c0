"""Everything is killed at once: what was under way is run again when `callkeeper dev` is back."""

import os
import signal
from datetime import date
from typing import Final

import pytest

from callkeeper_assets.simulator.server import RunningSimulator
from callkeeper_assets_tests.benchmarks.measure import find_tree
from callkeeper_assets_tests.chaos.daemon_runs import DaemonRuns, start_without_answer
from callkeeper_assets_tests.chaos.installation import SOURCE, Installation
from callkeeper_assets_tests.e2e.dev import Dev, run_dev
from callkeeper_assets_tests.waiting import wait_until

_CURSOR: Final = "SELECT count(*) FROM dagster.kvs WHERE key LIKE 'EVENT_LOG_CONSUMER_CURSOR%%'"
# It is known to have failed before the daemon starts.
_FAILED_SEC: Final = 5.0


def _cut_power(dev: Dev) -> None:
    """Kill everything, and let nobody see another one's end."""
    tree = find_tree(dev.process.pid)
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in tree:
            os.kill(pid, number)


@pytest.mark.chaos
@pytest.mark.e2e
@pytest.mark.timeout(600)
def test_a_run_of_a_machine_that_went_down_is_run_again_when_it_is_up(
    installation: Installation, simulator: RunningSimulator
) -> None:
    with run_dev(installation) as dev:
        runs = DaemonRuns(dev, installation)
        run_id = start_without_answer(runs, simulator, date(2026, 1, 10))
        # The daemon remembers where it was: what failed before its first look stays as it is.
        wait_until(lambda: installation.query(_CURSOR) != [(0,)], "it has looked once")
        _cut_power(dev)
    simulator.account(SOURCE).set_faults()
    assert runs.status(run_id) == "STARTED"
    with run_dev(installation) as dev:
        runs = DaemonRuns(dev, installation)
        runs.wait_for(run_id, "FAILURE", _FAILED_SEC)
        runs.wait_for(runs.wait_until_again(run_id), "SUCCESS")
    assert runs.count_at_most() == 1
