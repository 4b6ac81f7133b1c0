"""Processes that a command starts: they never outlive it, and those that died are started again."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, Self

from callkeeper_assets.cli.console import build_child_environment, print_warning
from callkeeper_assets.home import project_root

# From linux/prctl.h.
_PR_SET_PDEATHSIG: Final = 1
_ASK_AGAIN_SEC: Final = 2.0


def _build_tie(farewell: signal.Signals) -> Callable[[], None] | None:
    """Return what a new child does first: ask the kernel for a signal when its parent ends."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def tie() -> None:
        prctl(_PR_SET_PDEATHSIG, farewell)
        if os.getppid() != parent:  # it died before the kernel was asked
            os._exit(1)

    return tie


def start_child(
    arguments: Sequence[str],
    *,
    stdout: int | IO[bytes],
    stderr: int | IO[bytes],
    stdin: int = subprocess.DEVNULL,
    farewell: signal.Signals = signal.SIGTERM,
) -> subprocess.Popen[bytes]:
    """Start `python <arguments>` in the project's root; from the main thread only.

    The kernel ties a child to the thread that started it, not to the process.

    Args:
        arguments: Of Python.
        stdout: As of `subprocess.Popen`.
        stderr: The same.
        stdin: The same; empty unless it is said.
        farewell: What the child gets when this process is killed.
    """
    return subprocess.Popen(  # noqa: S603 -- our own modules
        [sys.executable, *arguments],
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        env=build_child_environment(),
        cwd=project_root(),
        start_new_session=True,
        # Safe beside threads: the child makes one system call before it becomes another program.
        preexec_fn=_build_tie(farewell),  # noqa: PLW1509
    )


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return


def stop_children(
    processes: Iterable[subprocess.Popen[bytes]],
    grace_sec: float,
    farewell: signal.Signals = signal.SIGTERM,
) -> None:
    """Ask processes to end; after `grace_sec` kill what is left of them and of their children.

    They are asked again every other second: Dagster takes an interrupt at a bad moment for a step
    that failed, and waits to run it again. A second Ctrl-C meanwhile kills them at once.
    """
    everyone = list(processes)
    deadline = time.monotonic() + grace_sec
    try:
        while any(process.poll() is None for process in everyone) and time.monotonic() < deadline:
            for process in everyone:
                process.send_signal(farewell)
            _wait_for_end(everyone, min(deadline, time.monotonic() + _ASK_AGAIN_SEC))
    except KeyboardInterrupt:
        return
    finally:
        for process in everyone:
            # Those that ended in time may have left children in their group.
            _signal_group(process, signal.SIGKILL)
            process.wait()


def _wait_for_end(processes: Iterable[subprocess.Popen[bytes]], until: float) -> None:
    for process in processes:
        try:
            process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            return


_FIRST_PAUSE_SEC: Final = 1.0
_LONGEST_PAUSE_SEC: Final = 60.0
# One that lived so long was well: its next death is not one of a series.
_WELL_AFTER_SEC: Final = 60.0
_GRACE_SEC: Final = 8.0
_LARGEST_LOG: Final = 10_000_000
_TAIL_LINES: Final = 15


@dataclass(frozen=True)
class Service:
    """A process that should always run: `python <arguments>`.

    However often it dies, it is started again after `longest_pause_sec` at most.
    """

    name: str
    arguments: tuple[str, ...]
    log: Path
    longest_pause_sec: float = _LONGEST_PAUSE_SEC


class _Kept:
    """A service and how it has fared."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.deaths = 0
        self.start()

    def start(self) -> None:
        log = self.service.log
        log.parent.mkdir(parents=True, exist_ok=True)
        if log.exists() and log.stat().st_size > _LARGEST_LOG:
            log.replace(log.with_suffix(".old.log"))
        with log.open("ab") as file:
            self.process = start_child(
                self.service.arguments, stdout=file, stderr=subprocess.STDOUT
            )
        self.started = time.monotonic()
        self.again_at: float | None = None

    def look(self, now: float) -> None:
        """Start it again if it died and its pause is over."""
        if self.again_at is not None:
            if now >= self.again_at:
                self.start()
            return
        status = self.process.poll()
        if status is None:
            return
        # What it started itself would be in its successor's way.
        stop_children([self.process], 0)
        self.deaths = 1 if now - self.started > _WELL_AFTER_SEC else self.deaths + 1
        longest = self.service.longest_pause_sec
        pause = min(longest, _FIRST_PAUSE_SEC * 2.0 ** (self.deaths - 1))
        self.again_at = now + pause
        how = f"signal {-status}" if status < 0 else f"exit code {status}"
        print_warning(
            f"{self.service.name} ended ({how}); it is started again in {pause:.2g} s. "
            f"Its log: {self.service.log}"
        )


class Supervisor:
    """The services of one command; a context manager that stops them all at its end."""

    def __init__(self) -> None:
        self._kept: list[_Kept] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, service: Service) -> None:
        """Start a service, and keep it alive from now on."""
        self._kept.append(_Kept(service))

    def look_after(self) -> None:
        """Start again what has died, if its time has come; to be called often."""
        for kept in self._kept:
            kept.look(time.monotonic())

    def count_deaths(self, name: str) -> int:
        """Return how often in a row a service has died."""
        return sum(kept.deaths for kept in self._kept if kept.service.name == name)

    def find_log(self, name: str) -> Path:
        """Return where a service's log is."""
        return next(kept.service.log for kept in self._kept if kept.service.name == name)

    def stop(self) -> None:
        """Stop all services, the last started first."""
        stop_children([kept.process for kept in reversed(self._kept)], _GRACE_SEC)


def read_tail(log: Path) -> str:
    """Return the last lines of a log."""
    lines: Sequence[str] = []
    if log.exists():
        lines = log.read_text("utf-8", "replace").splitlines()
    return "\n".join(lines[-_TAIL_LINES:])
