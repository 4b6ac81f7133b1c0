"""Processes that a command starts, and that never outlive it.

A child has a session of its own, so that Ctrl-C reaches the command alone, which then stops its
children in order. If the command itself is killed, Linux's kernel ends the child.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import IO, Final

from callkeeper_assets.cli.environment import build_child_environment
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
