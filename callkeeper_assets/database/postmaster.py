"""The embedded PostgreSQL's main process: is it running, start it, stop it.

The truth is `postmaster.pid`, which the server writes itself, read with care: after a crash it
names a process that is gone, or whose number another program has by now. Who starts or stops the
server holds the home's lock.
"""

import os
import signal
import socket
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from callkeeper_assets.database.cluster import Cluster
from callkeeper_assets.database.errors import DatabaseError
from callkeeper_assets.database.server_user import run_as

# Recovery after a power failure replays up to max_wal_size; on a slow disk that takes minutes.
_START_TIMEOUT_SEC = 300.0
# A killed server's processes notice it within seconds, unless one is deep in a query.
_ORPHANS_TIMEOUT_SEC = 30.0
_STOP_TIMEOUT_SEC = 60.0
_POLL_SEC = 0.02
_RETRY_SEC = 0.5
# The server's words for: the port was taken in this moment.
_TAKEN = "Address already in use"
# The same; processes of a killed server are about to end; a server whose starter was killed is
# about to show itself.
_PASSING = (_TAKEN, "is still in use", "already exists")
# Below the ports that Linux and macOS give to outgoing connections.
_FIRST_PORT = 15432
_PORTS = 10_000
_PORTS_TRIED = 100
# postmaster.pid: process, data folder, start time, port, socket folder, address, memory, status.
_PID_LINE, _FOLDER_LINE, _PORT_LINE, _STATUS_LINE = 0, 1, 3, 7


@dataclass(frozen=True)
class Postmaster:
    """A running server."""

    pid: int
    port: int
    is_ready: bool


def _read_process(pid: int, file: str, column: str) -> str:
    """Return what the system says of a process, empty if it is gone.

    From `/proc` where there is one: small containers have no ps(1).
    """
    if not Path("/proc/self/stat").exists():
        return run_as(None, ["ps", "-ww", "-o", f"{column}=", "-p", str(pid)]).stdout
    try:
        return Path(f"/proc/{pid}/{file}").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def _command_line(pid: int) -> str:
    """Return what a process was started with, a line for each part.

    Empty for one that is gone, and for an instant for one that is just beginning.
    """
    return _read_process(pid, "cmdline", "command").replace("\0", "\n")


def _is_alive(pid: int) -> bool:
    """Whether the process exists, and not only as the record that its parent has yet to read."""
    state = _read_process(pid, "stat", "stat").rpartition(")")[2].strip()
    return state != "" and state[0] not in "ZX"


def _read_lines(data: Path) -> list[str]:
    try:
        return (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return []


def _pid_in(lines: list[str]) -> int:
    """Return the process number, 0 where a crash left none in the file."""
    text = lines[_PID_LINE].strip() if lines else ""
    return int(text) if text.isdigit() else 0


def find_postmaster(data: Path) -> Postmaster | None:
    """Return the server that runs on the folder `data`, None if there is none."""
    lines = _read_lines(data)
    if len(lines) <= _PORT_LINE:
        return None
    served = lines[_FOLDER_LINE]
    # A home that was renamed while its server ran is still served by it; a home that was copied,
    # this file included, is not: there the original still exists.
    if served != str(data) and Path(served).exists():
        return None
    pid = _pid_in(lines)
    started_with = _command_line(pid)
    if f"\n-D\n{served}\n" not in started_with and f" -D {served} " not in started_with:
        return None
    status = lines[_STATUS_LINE].strip() if len(lines) > _STATUS_LINE else ""
    return Postmaster(pid, int(lines[_PORT_LINE]), status == "ready")


def _remove_foreign_pid_file(data: Path) -> None:
    """Remove a `postmaster.pid` that is empty, or whose number another program has by now.

    PostgreSQL cannot tell, and would refuse to start. While no process has the number the file
    stays: PostgreSQL itself then looks whether any of the old server's processes is left.
    """
    pid = _pid_in(_read_lines(data))
    if pid == 0 or _is_alive(pid):
        (data / "postmaster.pid").unlink(missing_ok=True)


def _free_ports(data: Path) -> Iterator[int]:
    """Yield free ports of 127.0.0.1, first the one that this folder always gets if it can."""
    first = zlib.crc32(os.fsencode(data)) % _PORTS
    for step in range(_PORTS_TRIED):
        port = _FIRST_PORT + (first + step) % _PORTS
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        yield port


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-1500:].strip() if log.exists() else ""


def _launch(cluster: Cluster, port: int) -> int:
    """Start the server as nobody's child, in a session of its own; return its process number.

    The shell is what makes it nobody's child: this process may live long and would owe the server
    a wait(), and the server must outlive it, Ctrl-C included.
    """
    if cluster.log.exists():
        cluster.log.replace(cluster.log.with_suffix(".log.1"))  # why the last one ended
    server: list[str | Path] = [
        cluster.programs.path("postgres"),
        "-D",
        cluster.data,
        "-p",
        str(port),
    ]
    script = 'log=$1; shift; "$@" >>"$log" 2>&1 </dev/null & echo $!'
    started = run_as(
        cluster.account, ["/bin/sh", "-c", script, "sh", cluster.log, *server], umask=0o077
    )
    if not started.stdout.strip().isdigit():
        raise DatabaseError(f"The embedded PostgreSQL did not start: {started.stderr.strip()}")
    return int(started.stdout)


def _await_ready(cluster: Cluster, pid: int) -> Postmaster | None:
    """Wait until the server takes connections; None if it gave up, the log says why."""
    deadline = time.monotonic() + _START_TIMEOUT_SEC
    while time.monotonic() < deadline:
        found = find_postmaster(cluster.data)
        if found is not None and found.is_ready and found.pid == pid:
            return found
        if not _is_alive(pid):
            return None
        time.sleep(_POLL_SEC)
    raise DatabaseError(
        f"The embedded PostgreSQL in {cluster.data} was not ready after {_START_TIMEOUT_SEC:.0f} "
        f"s. It may still be recovering; try again. Its log, {cluster.log}, ends: "
        f"{_tail(cluster.log)}"
    )


def start_postmaster(cluster: Cluster) -> Postmaster:
    """Start the server, or wait for the one that is starting; return it when it is ready.

    Raises:
        DatabaseError: it does not start; with the end of its log.
    """
    deadline = time.monotonic() + _ORPHANS_TIMEOUT_SEC
    log = f"no free port was found in {_PORTS_TRIED} tried"
    ports = _free_ports(cluster.data)
    port = next(ports, None)
    while port is not None:
        found = find_postmaster(cluster.data)
        if found is None:
            _remove_foreign_pid_file(cluster.data)
        ready = _await_ready(cluster, found.pid if found else _launch(cluster, port))
        if ready is not None:
            return ready
        log = _tail(cluster.log)
        if not any(passing in log for passing in _PASSING) or time.monotonic() > deadline:
            break
        # Only then another one: who used the server that was killed keeps asking at its port.
        if _TAKEN in log:
            port = next(ports, None)
        time.sleep(_RETRY_SEC)
    raise DatabaseError(
        f"The embedded PostgreSQL in {cluster.data} did not start: {log}\n"
        f"Remedy what it says, or set CALLKEEPER_DATABASE_URL to a PostgreSQL of your own."
    )


def stop_postmaster(data: Path) -> None:
    """Stop the server, if it runs, ending its sessions; return when it is gone.

    Raises:
        DatabaseError: it does not stop.
    """
    found = find_postmaster(data)
    if found is None:
        return
    try:
        os.kill(found.pid, signal.SIGINT)  # PostgreSQL's "fast shutdown"
    except ProcessLookupError:
        return
    deadline = time.monotonic() + _STOP_TIMEOUT_SEC
    while _is_alive(found.pid):
        if time.monotonic() > deadline:
            raise DatabaseError(
                f"The embedded PostgreSQL in {data} (process {found.pid}) did not stop within "
                f"{_STOP_TIMEOUT_SEC:.0f} s. See {data / 'server.log'}."
            )
        time.sleep(_POLL_SEC)
