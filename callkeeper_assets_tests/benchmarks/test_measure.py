"""The measuring itself: child processes are counted, failures are shown."""

import os
import sys
from pathlib import Path

import pytest

from callkeeper_assets_tests.benchmarks.measure import CommandError, Usage, run_measured

_CHILD = "import time; held = bytearray(80_000_000); end = time.process_time() + 0.4\n\
while time.process_time() < end: pass"
_PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {_CHILD!r}], check=True)"


def _run(code: str, folder: Path) -> Usage:
    command = [sys.executable, "-c", code]
    return run_measured(command, environment=dict(os.environ), folder=folder, watched={})


def test_time_and_memory_of_a_child_process_are_the_commands(tmp_path: Path) -> None:
    usage = _run(_PARENT, tmp_path)
    assert usage.cpu_sec >= 0.4
    assert usage.seconds >= 0.4
    assert usage.process_mb >= 80
    assert usage.tree_mb >= 80


def test_processor_time_of_a_watched_process_is_counted_with_its_ended_children(
    tmp_path: Path,
) -> None:
    command = [sys.executable, "-c", _CHILD]
    usage = run_measured(
        command, environment=dict(os.environ), folder=tmp_path, watched={"tests": os.getpid()}
    )
    assert usage.watched_cpu_sec["tests"] >= 0.3


def test_a_command_that_fails_is_named_with_what_it_printed(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"ended with 3:\nno such account"):
        _run("print('no such account'); raise SystemExit(3)", tmp_path)
