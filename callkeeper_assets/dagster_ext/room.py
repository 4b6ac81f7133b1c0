"""How much memory this machine, or the container that this process is in, still has to give.

Linux says so for the machine in `/proc/meminfo`; a control group may allow less. Elsewhere psutil
knows. Stays light to import.
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

_ROOT: Final = Path("/sys/fs/cgroup")
# Of version 2 and 1: the limit, what is used, and what of that the kernel gives back when asked.
_FILES: Final = (
    ("", "memory.max", "memory.current", "inactive_file"),
    ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def _list_groups() -> Iterator[tuple[Path, tuple[str, str, str]]]:
    """Yield the folders of this process's control group and of all that it lies in."""
    lines = Path("/proc/self/cgroup").read_text("utf-8").splitlines()
    for controller, *files in _FILES:
        for line in lines:
            _, controllers, path = line.split(":", 2)
            if controller in controllers.split(","):
                base = _ROOT / controller
                # In a container its own group is the root, and the path may lead nowhere.
                folder = base / path.lstrip("/")
                while folder.is_relative_to(base):
                    yield folder, (files[0], files[1], files[2])
                    folder = folder.parent


def _read_left(folder: Path, files: tuple[str, str, str]) -> int:
    limit, used, reclaimable = files
    allowed = int((folder / limit).read_text("ascii"))
    current = int((folder / used).read_text("ascii"))
    stat = dict(
        line.split(" ", 1) for line in (folder / "memory.stat").read_text("ascii").splitlines()
    )
    return allowed - current + int(stat.get(reclaimable, 0))


def measure_room() -> int:
    """Return how many bytes processes can still take before anything is swapped out or killed."""
    room = int(psutil.virtual_memory().available)
    with suppress(OSError):
        for folder, files in _list_groups():
            # No such file, or "max": no limit there.
            with suppress(OSError, ValueError):
                room = min(room, _read_left(folder, files))
    return room
