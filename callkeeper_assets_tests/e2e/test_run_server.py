"""Runs as forks of one process, through Dagster's web server, queue and daemon.

A run has the definitions of the moment at which it is launched, and its process can be stopped and
looked after whatever becomes of the process that it was forked from.
"""

import os
import signal
import socket
import struct
import urllib.error
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest

from callkeeper_assets.dagster_ext.launcher import PROCESS_TAG, find_process
from callkeeper_assets.dagster_ext.run_socket import reachable, socket_file
from callkeeper_assets.home import set_dagster_home
from callkeeper_assets.simulator.server import RunningSimulator, run_simulator
from callkeeper_assets.simulator.settings import AccountSettings, Fault
from callkeeper_assets_tests.chaos.installation import KEY, SOURCE, Installation
from callkeeper_assets_tests.e2e.dev import Dev, run_dev
from callkeeper_assets_tests.waiting import wait_until

_LAUNCH = """mutation($p: ExecutionParams!) { launchRun(executionParams: $p) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
} }"""
_TERMINATE = """mutation($id: String!) { terminateRun(runId: $id) {
  __typename ... on TerminateRunFailure { message } ... on PythonError { message }
} }"""
_MASKED = "SELECT count(*) FILTER (WHERE client_phone LIKE '%%*%%'), count(*) FROM callkeeper_calls"


def _ask_to_launch(dev: Dev, day: date, source: str = SOURCE) -> dict[str, Any]:
    launched: dict[str, Any] = dev.ask(
        _LAUNCH,
        p={
            "selector": {
                "repositoryName": "__repository__",
                "repositoryLocationName": "callkeeper_assets",
                "jobName": f"{source}_refresh",
            },
            "executionMetadata": {"tags": [{"key": "dagster/partition", "value": str(day)}]},
        },
    )["launchRun"]
    return launched


def launch(dev: Dev, day: date, source: str = SOURCE) -> str:
    """Launch a refresh's job for a day and return the run's id."""
    launched = _ask_to_launch(dev, day, source)
    assert launched["__typename"] == "LaunchRunSuccess", launched
    return str(launched["run"]["runId"])


def _try_to_launch(dev: Dev, day: date) -> str:
    """Launch as `launch` does; the empty text while there is no code server.

    Dagster says so by an error of HTTP, or by an answer: as far as it came when it went away.
    """
    try:
        launched = _ask_to_launch(dev, day)
    except urllib.error.HTTPError as error:
        error.close()
        return ""
    return str(launched["run"]["runId"]) if "run" in launched else ""


@pytest.fixture
def simulator() -> Iterator[RunningSimulator]:
    """CallKeeper with one account: 10 calls every day."""
    account = AccountSettings(key=KEY, name=SOURCE, calls_per_day=10, rhythm="flat")
    with run_simulator([account]) as running:
        yield running


@pytest.fixture
def instance(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dg.DagsterInstance]:
    """The instance of the installation."""
    for name, value in installation.environment.items():
        monkeypatch.setenv(name, value)
    set_dagster_home()
    with dg.DagsterInstance.get() as made:
        yield made


def find_server() -> psutil.Process | None:
    """Return the process that runs are forked from: who listens at its socket."""
    with socket.socket(socket.AF_UNIX) as connection, reachable(socket_file()) as name:
        try:
            connection.connect(name)
        except OSError:
            return None
        said = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return psutil.Process(struct.unpack("3i", said)[0])


@pytest.mark.e2e
def test_a_run_is_a_fork_with_the_definitions_of_its_moment(
    installation: Installation, simulator: RunningSimulator, instance: dg.DagsterInstance
) -> None:
    installation.add_source(simulator.base_url)
    file: Path = installation.defs / SOURCE / "defs.yaml"
    with run_dev(installation) as dev:

        def run(day: date) -> dg.DagsterRun:
            launched = ""

            def is_launched() -> bool:
                nonlocal launched
                launched = _try_to_launch(dev, day)
                return bool(launched)

            # The code server ends with the run server, whose fork it is.
            wait_until(is_launched, "there is a code server")
            wait_until(
                lambda: (found := instance.get_run_by_id(launched)) and found.is_finished,
                "the run ends",
                120,
            )
            ended = instance.get_run_by_id(launched)
            assert ended is not None
            return ended

        first = run(date(2026, 1, 10))
        assert first.status is dg.DagsterRunStatus.SUCCESS
        assert PROCESS_TAG in first.tags
        assert installation.query(_MASKED) == [(0, 10)]

        # Nobody reloads anything: the next run is forked from a process that has read the file.
        server = find_server()
        assert server is not None
        plain = file.read_text("utf-8")
        file.write_text(f"{plain}  privacy: {{phones: mask}}\n", "utf-8")
        assert run(date(2026, 1, 11)).status is dg.DagsterRunStatus.SUCCESS
        masked = f"{_MASKED} WHERE called_at >= '2026-01-11T00:00+03'"
        assert installation.query(masked) == [(10, 10)]
        assert find_server() == server

        # Killed: another begins, and forks.
        server.kill()
        wait_until(lambda: not server.is_running(), "the run server is gone")
        wait_until(find_server, "there is another")
        assert run(date(2026, 1, 12)).status is dg.DagsterRunStatus.SUCCESS


@pytest.mark.e2e
def test_a_run_under_way_is_stopped_and_missed_by_its_process(
    installation: Installation, simulator: RunningSimulator, instance: dg.DagsterInstance
) -> None:
    installation.add_source(simulator.base_url)
    simulator.account(SOURCE).set_faults(Fault("latency", seconds=60.0))
    with run_dev(installation) as dev:

        def begin() -> tuple[dg.DagsterRun, psutil.Process]:
            launched = launch(dev, date(2026, 1, 10))
            wait_until(
                lambda: (
                    (found := instance.get_run_by_id(launched))
                    and found.status is dg.DagsterRunStatus.STARTED
                    and PROCESS_TAG in found.tags
                ),
                "the run is under way",
                120,
            )
            begun = instance.get_run_by_id(launched)
            assert begun is not None
            process = find_process(begun)
            assert process is not None
            return begun, process

        stopped, process = begin()
        assert instance.run_launcher.check_run_worker_health(stopped).status.value == "RUNNING"
        assert dev.ask(_TERMINATE, id=stopped.run_id)["terminateRun"]["__typename"] == (
            "TerminateRunSuccess"
        )
        wait_until(
            lambda: (
                (found := instance.get_run_by_id(stopped.run_id))
                and found.status is dg.DagsterRunStatus.CANCELED
            ),
            "the run is cancelled",
            120,
        )
        wait_until(lambda: find_process(stopped) is None, "its process ends")

        killed, process = begin()
        os.kill(process.pid, signal.SIGKILL)
        wait_until(lambda: find_process(killed) is None, "it is gone")
        health = instance.run_launcher.check_run_worker_health(killed)
        assert health.status.value == "FAILED"
        again = instance.get_run_by_id(killed.run_id)
        assert again is not None
        assert again.tags["dagster/max_retries"] == "1"
