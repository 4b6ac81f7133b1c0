"""Runs that one machine's daemon sends, over a broker, to the workers of two others."""

import time
from datetime import date, timedelta

import dagster as dg
import pytest

from callkeeper_assets.dagster_ext.celery_launcher import RUN_TASK, CeleryLauncher
from callkeeper_assets.dagster_ext.launcher import PROCESS_TAG, find_process
from callkeeper_assets.simulator.server import RunningSimulator
from callkeeper_assets.simulator.settings import Fault
from callkeeper_assets_tests.chaos.installation import SOURCE
from callkeeper_assets_tests.e2e.dev import run_dev
from callkeeper_assets_tests.e2e.test_run_server import launch
from callkeeper_assets_tests.waiting import wait_until
from callkeeper_assets_tests.workers.machines import Machines, Worker, working

_FIRST = date(2026, 1, 10)
_CANCEL = """mutation($id: String!) { terminateRun(runId: $id) { __typename } }"""


def read_run(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRun:
    """Return a run as it is now."""
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run


def wait_for_status(
    instance: dg.DagsterInstance, run_id: str, status: str, seconds: float = 90
) -> None:
    """Wait until a run has a status."""
    wait_until(
        lambda: read_run(instance, run_id).status.value == status,
        f"the run's status is {status}",
        seconds,
    )


def find_worker(instance: dg.DagsterInstance, run_id: str, workers: list[Worker]) -> Worker:
    """Return the worker that has a run."""
    wait_until(lambda: PROCESS_TAG in read_run(instance, run_id).tags, "the run has a process")
    process = find_process(read_run(instance, run_id))
    assert process is not None
    return next(one for one in workers if process in one.list_processes())


@pytest.mark.e2e
def test_first(
    machines: Machines, simulator: RunningSimulator, instance: dg.DagsterInstance
) -> None:
    account = simulator.account(SOURCE)
    launcher = instance.run_launcher
    assert isinstance(launcher, CeleryLauncher)
    t0 = time.monotonic()

    def say(*words: object) -> None:
        print(f"{time.monotonic() - t0:.1f}", *words, flush=True)

    with (
        working(machines.add("second"), machines.add("third")) as workers,
        run_dev(machines.first) as dev,
    ):
        say("ready")
        # The broker dies and comes back while a run is under way.
        account.set_faults(Fault("latency", seconds=8.0))
        living = launch(dev, _FIRST)
        wait_for_status(instance, living, "STARTED")
        machines.broker.kill()
        say("killed broker")
        queued = launch(dev, _FIRST + timedelta(1))
        wait_for_status(instance, living, "SUCCESS")
        say("living ended")
        assert read_run(instance, queued).status.value in ("QUEUED", "STARTING")
        account.set_faults()
        machines.broker.start()
        say("broker back")
        wait_for_status(instance, queued, "SUCCESS")
        say("queued ended")

        # Cancelled.
        account.set_faults(Fault("latency", seconds=60.0))
        cancelled = launch(dev, _FIRST + timedelta(2))
        wait_for_status(instance, cancelled, "STARTED")
        find_worker(instance, cancelled, workers)
        dev.ask(_CANCEL, id=cancelled)
        wait_for_status(instance, cancelled, "CANCELED")
        say("cancelled")

        # Killed: the other one does it again.
        killed = launch(dev, _FIRST + timedelta(3))
        wait_for_status(instance, killed, "STARTED")
        worker = find_worker(instance, killed, workers)
        # A message that comes twice.
        launcher.celery.send_task(RUN_TASK, (killed,), queue="callkeeper")
        account.set_faults()
        worker.kill()
        say("worker killed")
        wait_for_status(instance, killed, "FAILURE")
        say("failed")
        again = lambda: instance.get_runs(dg.RunsFilter(tags={"dagster/parent_run_id": killed}))
        wait_until(again, "it is run again", 90)
        say("again")
        wait_for_status(instance, again()[0].run_id, "SUCCESS")
        say("done")
        for one in workers:
            print(one.read_log())
