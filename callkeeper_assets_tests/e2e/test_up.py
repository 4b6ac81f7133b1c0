"""`callkeeper up` as a service: told of by sd_notify, stopped with a run under way.

Through the web server, queue, run server and daemon, as processes.
"""

import queue
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import dagster as dg
import pytest

from callkeeper_assets.cli.serving import find_free_port
from callkeeper_assets.dagster_ext.launcher import PROCESS_TAG, find_process
from callkeeper_assets.home import set_dagster_home
from callkeeper_assets.simulator.server import RunningSimulator, run_simulator
from callkeeper_assets.simulator.settings import AccountSettings, Fault
from callkeeper_assets_tests.chaos.installation import KEY, SOURCE, Installation
from callkeeper_assets_tests.e2e.dev import Dev
from callkeeper_assets_tests.e2e.test_run_server import launch
from callkeeper_assets_tests.waiting import wait_until
from callkeeper_assets_tests.warm import WarmPopen

_MAIN = "callkeeper_assets.cli.main"


@pytest.fixture
def simulator() -> Iterator[RunningSimulator]:
    """CallKeeper with one account: 10 calls every day."""
    account = AccountSettings(key=KEY, name=SOURCE, calls_per_day=10, rhythm="flat")
    with run_simulator([account]) as running:
        yield running


class _Up:
    """A running `callkeeper up`, and what it tells its supervisor."""

    def __init__(self, installation: Installation, folder: Path, grace: int) -> None:
        self.port = find_free_port()
        self.channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        name = folder / f"notify-{self.port}"
        self.channel.bind(str(name))
        self.told: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()
        installation.variables.update(NOTIFY_SOCKET=str(name), WATCHDOG_USEC="2000000")
        self.log = folder / f"up-{self.port}.log"
        words = ("up", "--port", str(self.port), "--grace", str(grace))
        with self.log.open("w") as log:
            self.process: subprocess.Popen[bytes] = WarmPopen(
                [installation.python, "-m", _MAIN, *words],
                env=installation.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _listen(self) -> None:
        # As systemd does: at once. A socket holds few messages that nobody reads.
        while message := self.channel.recv(100):
            self.told.put(message.decode())

    def hear(self) -> str:
        """Return the next that it tells."""
        try:
            return self.told.get(timeout=120)
        except queue.Empty:
            raise AssertionError(self.log.read_text()) from None

    def stop(self) -> float:
        """Stop it as systemd does: the process alone; return how long that took."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(90) == 0, self.log.read_text()
        return time.monotonic() - began


@contextmanager
def _up(installation: Installation, folder: Path, grace: int) -> Iterator[_Up]:
    one = _Up(installation, folder, grace)
    try:
        yield one
    finally:
        one.process.terminate()
        try:
            one.process.wait(90)
        finally:
            # Wakes who listens.
            one.channel.shutdown(socket.SHUT_RDWR)
            one.channel.close()


@pytest.mark.e2e
def test_a_stop_lets_a_run_end_within_its_grace_and_has_it_run_again_if_it_does_not(
    installation: Installation,
    simulator: RunningSimulator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    installation.add_source(simulator.base_url)
    simulator.account(SOURCE).set_faults(Fault("latency", seconds=120.0))
    for name, value in installation.environment.items():
        monkeypatch.setenv(name, value)
    set_dagster_home()
    with dg.DagsterInstance.get() as instance:

        def list_runs(*statuses: dg.DagsterRunStatus) -> list[dg.DagsterRun]:
            return list(instance.get_runs(dg.RunsFilter(statuses=list(statuses))))

        with _up(installation, tmp_path, grace=1) as up:
            assert [up.hear(), up.hear()] == ["READY=1", "WATCHDOG=1"]
            dev = Dev(up.process, up.port, 0)
            launched = [launch(dev, date(2026, 1, day)) for day in (10, 11)]
            wait_until(
                # Who launches a run names its process a moment after it has begun.
                lambda: (
                    [PROCESS_TAG in run.tags for run in list_runs(dg.DagsterRunStatus.STARTED)]
                    == [True, True]
                ),
                "one run asks a source that does not answer, one waits for its key",
                120,
            )
            deaf = instance.get_run_by_id(launched[1])
            assert deaf is not None
            process = find_process(deaf)
            assert process is not None
            process.suspend()
            assert up.stop() < 20
            assert not process.is_running()
            while (told := up.hear()) == "WATCHDOG=1":
                pass
            assert told == "STOPPING=1"
        for run_id in launched:
            handed_over = instance.get_run_by_id(run_id)
            assert handed_over is not None
            assert handed_over.status is dg.DagsterRunStatus.FAILURE
            assert handed_over.tags["dagster/max_retries"] == "1"

        simulator.account(SOURCE).set_faults(Fault("latency", seconds=4.0))
        with _up(installation, tmp_path, grace=60) as up:
            assert up.hear() == "READY=1"
            wait_until(lambda: list_runs(dg.DagsterRunStatus.STARTED), "it is run again", 120)
            assert up.stop() < 60
        again = list_runs(dg.DagsterRunStatus.SUCCESS)
        assert again
        assert {run.parent_run_id for run in again} <= set(launched)
        assert not list_runs(dg.DagsterRunStatus.STARTED)
    assert installation.query("SELECT count(*) FROM callkeeper_calls") == [(10 * len(again),)]
