"""Runs that one machine's daemon sends, over a broker, to the workers of two others."""

from collections.abc import Sequence
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
_CANCEL = """mutation($id: String!, $how: TerminateRunPolicy) {
  terminateRun(runId: $id, terminatePolicy: $how) { __typename }
}"""
_CALLS = "SELECT count(*), count(DISTINCT call_id) FROM callkeeper_calls"
_MASKED = """
    SELECT count(*) FILTER (WHERE client_phone LIKE '%%*%%'), count(*) FROM callkeeper_calls
    WHERE called_at >= %s
"""


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


def list_reruns(instance: dg.DagsterInstance, run_id: str) -> Sequence[dg.DagsterRun]:
    """Return the runs that do a run again."""
    return instance.get_runs(dg.RunsFilter(tags={"dagster/parent_run_id": run_id}))


@pytest.mark.e2e
def test_runs_outlive_their_broker_and_their_worker(
    machines: Machines, simulator: RunningSimulator, instance: dg.DagsterInstance
) -> None:
    account, launcher = simulator.account(SOURCE), instance.run_launcher
    assert isinstance(launcher, CeleryLauncher)
    with (
        working(machines.add("second"), machines.add("third")) as workers,
        run_dev(machines.first) as dev,
    ):
        # The broker dies while a run is under way, and another is launched.
        account.set_faults(Fault("latency", seconds=6.0))
        living = launch(dev, _FIRST)
        wait_for_status(instance, living, "STARTED")
        machines.broker.kill()
        queued = launch(dev, _FIRST + timedelta(1))
        wait_for_status(instance, living, "SUCCESS")
        assert read_run(instance, queued).status.value in ("QUEUED", "STARTING")
        account.set_faults()
        machines.broker.start()
        wait_for_status(instance, queued, "SUCCESS")

        # A worker's machine goes down; its run's message comes a second time.
        account.set_faults(Fault("latency", seconds=60.0))
        killed = launch(dev, _FIRST + timedelta(2))
        wait_for_status(instance, killed, "STARTED")
        worker = find_worker(instance, killed, workers)
        launcher.celery.send_task(RUN_TASK, (killed,), queue="callkeeper")
        account.set_faults()
        worker.kill()
        wait_for_status(instance, killed, "FAILURE", 60)
        wait_until(lambda: list_reruns(instance, killed), "it is run again")
        [again] = list_reruns(instance, killed)
        wait_for_status(instance, again.run_id, "SUCCESS")
        assert not any("Traceback" in one.read_log() for one in workers)
    assert machines.first.query(_CALLS) == [(30, 30)]


@pytest.mark.e2e
@pytest.mark.chaos
def test_a_run_is_cancelled_from_another_machine(
    machines: Machines, simulator: RunningSimulator, instance: dg.DagsterInstance
) -> None:
    simulator.account(SOURCE).set_faults(Fault("latency", seconds=60.0))
    with run_dev(machines.first) as dev:
        # Before any worker has it, and when one has.
        waiting = launch(dev, _FIRST)
        wait_for_status(instance, waiting, "STARTING")
        # Dagster lets a run that has not begun be cancelled by force alone.
        dev.ask(_CANCEL, id=waiting, how="MARK_AS_CANCELED_IMMEDIATELY")
        wait_for_status(instance, waiting, "CANCELED", 10)
        with working(machines.add("second")):
            under_way = launch(dev, _FIRST + timedelta(1))
            wait_for_status(instance, under_way, "STARTED")
            dev.ask(_CANCEL, id=under_way, how="SAFE_TERMINATE")
            wait_for_status(instance, under_way, "CANCELED", 40)
    assert read_run(instance, waiting).status.value == "CANCELED"


@pytest.mark.e2e
@pytest.mark.chaos
def test_a_worker_lets_its_run_end_or_hands_it_back(
    machines: Machines, simulator: RunningSimulator, instance: dg.DagsterInstance
) -> None:
    account = simulator.account(SOURCE)
    second, third = machines.add("second"), machines.add("third")
    with run_dev(machines.first) as dev:
        with working(second, arguments=("--runs", "1", "--grace", "30")) as [worker]:
            account.set_faults(Fault("latency", seconds=10.0))
            ends = launch(dev, _FIRST)
            wait_for_status(instance, ends, "STARTED")
            worker.process.terminate()
            assert worker.process.wait(60) == 0
            assert read_run(instance, ends).status.value == "SUCCESS"
        account.set_faults(Fault("latency", seconds=60.0))
        with working(second, arguments=("--grace", "1")) as [worker]:
            handed = launch(dev, _FIRST + timedelta(1))
            wait_for_status(instance, handed, "STARTED")
            worker.process.terminate()
            assert worker.process.wait(30) == 0
            assert read_run(instance, handed).status.value == "FAILURE"
        account.set_faults()
        with working(third):
            wait_until(lambda: list_reruns(instance, handed), "it is run again")
            wait_for_status(instance, list_reruns(instance, handed)[0].run_id, "SUCCESS")


@pytest.mark.e2e
@pytest.mark.chaos
def test_a_worker_has_todays_definitions(machines: Machines, instance: dg.DagsterInstance) -> None:
    second = machines.add("second")
    with working(second), run_dev(machines.first) as dev:
        wait_for_status(instance, launch(dev, _FIRST), "SUCCESS")
        for machine in (machines.first, second):
            file = machine.defs / SOURCE / "defs.yaml"
            file.write_text(f"{file.read_text('utf-8')}  privacy: {{phones: mask}}\n", "utf-8")
        wait_for_status(instance, launch(dev, _FIRST + timedelta(1)), "SUCCESS")
    assert second.query(_MASKED, "2026-01-11T00:00+03") == [(10, 10)]
