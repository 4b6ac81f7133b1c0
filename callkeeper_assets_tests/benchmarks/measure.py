"""What a command costs: time, processor time and memory, with all processes that it starts.

Linux only: memory and processor time of processes are read from `/proc`. Nothing here knows what is
being measured.
"""

import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from callkeeper_assets_tests.processes import read_process

_TICKS_A_SECOND: Final = os.sysconf("SC_CLK_TCK")
# Memory that lives shorter than this may be missed in the sum; a process's own peak never is.
_SAMPLE_SEC: Final = 0.1
# The kernel walks all pages of a process to tell what it shares: ten times a second that took a
# twentieth of two cores, from whoever was measured. Now it rests this many times as long.
_RESTS: Final = 50
_OUTPUT_SHOWN: Final = 3000


class CommandError(RuntimeError):
    """A measured command ended with another code than 0; the end of its output is the text."""


@dataclass(frozen=True)
class Usage:
    """What one command cost.

    Attributes:
        seconds: from its start until its end.
        cpu_sec: processor time of the command and all that it started.
        watched_cpu_sec: processor time of the watched process trees meanwhile, by name.
        process_mb: the most resident memory of one of its processes.
        tree_mb: the most memory of all its processes at once, pages that they share counted once.
        output: what it printed.
    """

    seconds: float
    cpu_sec: float
    watched_cpu_sec: Mapping[str, float]
    process_mb: float
    tree_mb: float
    output: str


def _kilobytes(text: str, name: str) -> int:
    for line in text.splitlines():
        if line.startswith(name):
            return int(line.split()[1])
    return 0


def _cpu_times(pid: int) -> tuple[float, float]:
    """Seconds of the process itself, and of its children that have ended and been waited for."""
    numbers = read_process(pid, "stat").rpartition(")")[2].split()
    if not numbers:
        return 0.0, 0.0
    user, system, ended_user, ended_system = (int(number) for number in numbers[11:15])
    return (user + system) / _TICKS_A_SECOND, (ended_user + ended_system) / _TICKS_A_SECOND


def find_tree(root: int) -> set[int]:
    """The process and its descendants that live now."""
    found, waiting = set(), [root]
    while waiting:
        pid = waiting.pop()
        found.add(pid)
        for thread in _list_threads(pid):
            children = read_process(pid, f"task/{thread}/children").split()
            waiting += [int(child) for child in children if int(child) not in found]
    return found


def _list_threads(pid: int) -> list[str]:
    try:
        return [thread.name for thread in Path(f"/proc/{pid}/task").iterdir()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def measure_cpu(root: int) -> float:
    """Seconds of processor time of a living process tree, its ended processes included."""
    return sum(sum(_cpu_times(pid)) for pid in find_tree(root))


def measure_memory(root: int) -> int:
    """KB of a living process tree, pages that its processes share counted once (PSS)."""
    return sum(_kilobytes(read_process(pid, "smaps_rollup"), "Pss:") for pid in find_tree(root))


@dataclass
class TreeSampler:
    """Reads a process tree's memory every moment, in a thread, while the block runs.

    Attributes:
        process_kb: the most resident memory of one process.
        tree_kb: the most memory of all processes at once, pages that they share counted once.
        cpu_sec: processor time of each process that was seen, by its number.
    """

    root: int
    process_kb: int = 0
    tree_kb: int = 0
    cpu_sec: dict[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory-sampler")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        rested_at = 0.0
        while not self._ended.wait(_SAMPLE_SEC):
            # A process whose parent has died hangs from another one: who was seen once is kept.
            tree = find_tree(self.root) | {pid for pid in self.cpu_sec if read_process(pid, "stat")}
            for pid in tree:
                own_kb = _kilobytes(read_process(pid, "status"), "VmHWM:")
                self.process_kb = max(self.process_kb, own_kb)
                self.cpu_sec[pid] = max(self.cpu_sec.get(pid, 0.0), _cpu_times(pid)[0])
            started = time.perf_counter()
            if started >= rested_at:
                shared_kb = sum(
                    _kilobytes(read_process(pid, "smaps_rollup"), "Pss:") for pid in tree
                )
                self.tree_kb = max(self.tree_kb, shared_kb)
                ended = time.perf_counter()
                rested_at = ended + _RESTS * (ended - started)


def run_measured(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    folder: Path,
    watched: Mapping[str, int],
) -> Usage:
    """Run a command to its end and measure it.

    Args:
        command: program and arguments.
        environment: all of its environment.
        folder: where it runs.
        watched: processes whose trees' processor time is measured too, by name.

    Raises:
        CommandError: it ended with another code than 0.
    """
    before = {name: measure_cpu(pid) for name, pid in watched.items()}
    with tempfile.TemporaryFile() as output:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, env=environment, cwd=folder, stdout=output, stderr=subprocess.STDOUT
        )
        with TreeSampler(process.pid) as sampler:
            _, status, resources = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read().decode("utf-8", "replace")
    if process.returncode != 0:
        raise CommandError(
            f"{' '.join(command)} ended with {process.returncode}:\n{text[-_OUTPUT_SHOWN:]}"
        )
    waited_for = resources.ru_utime + resources.ru_stime
    return Usage(
        seconds,
        # What a process did that nobody waited for is only in the samples.
        max(waited_for, sum(sampler.cpu_sec.values())),
        {name: measure_cpu(pid) - before[name] for name, pid in watched.items()},
        max(resources.ru_maxrss, sampler.process_kb) / 1024,
        sampler.tree_kb / 1024,
        text,
    )
