"""Other processes: what runs, and what started what."""

from contextlib import suppress
from pathlib import Path

import psutil


def children_of(pid: int, *, recursive: bool = False) -> list[int]:
    """Processes that a process started; `recursive`: and that these did."""
    with suppress(psutil.NoSuchProcess):
        return [child.pid for child in psutil.Process(pid).children(recursive)]
    return []


def read_process(pid: int, name: str) -> str:
    """A file of a process below `/proc`; empty when the process is gone, or goes meanwhile."""
    try:
        return Path(f"/proc/{pid}/{name}").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def arguments_of(pid: int) -> str:
    """The words that a process was started with; empty when it is gone."""
    return read_process(pid, "cmdline").replace("\0", " ")


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has waited for does not."""
    return read_process(pid, "stat").rpartition(")")[2].split()[:1] not in ([], ["Z"])
