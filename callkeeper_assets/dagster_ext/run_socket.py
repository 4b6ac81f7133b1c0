"""Where the run server listens (`worker.run_server`), and how it is asked. Stays light to import.

A request and its answer are a line of JSON each. `run_id` with `instance` asks for a run's process,
`service` with `log` for one that runs a module, `ended` for the exit code of such a process,
`places` for how many runs more there is room.
"""

import json
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from callkeeper_assets.home import home

# Names another run server than that of `callkeeper dev`, to a worker's processes.
RUN_SOCKET: Final = "CALLKEEPER_RUN_SOCKET"

# A server that must read changed code first answers when it has.
_PATIENCE_SEC: Final = 60.0


def socket_file() -> Path:
    """Return where the run server listens: that of `callkeeper dev`, or of a worker's own."""
    named = os.environ.get(RUN_SOCKET)
    return Path(named) if named else home() / "dev" / "runs.sock"


@contextmanager
def reachable(file: Path) -> Iterator[str]:
    """Yield a name of a socket's file that is short enough: a socket's has at most 107 bytes."""
    folders = Path("/proc/self/fd")
    if len(bytes(file)) <= 100 or not folders.is_dir():  # noqa: PLR2004 -- with some room
        yield str(file)
        return
    folder = os.open(file.parent, os.O_PATH)
    try:
        yield f"{folders}/{folder}/{file.name}"
    finally:
        os.close(folder)


def is_run_server_there() -> bool:
    """Whether a run server listens: what it is asked it answers, when it has read the code."""
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            with reachable(socket_file()) as name:
                connection.connect(name)
        except (FileNotFoundError, ConnectionRefusedError):
            return False
    return True


def ask_run_server(request: Mapping[str, object]) -> dict[str, Any] | None:
    """Send a request and return the answer; None if no run server listens.

    Raises:
        OSError: It went away before it answered, or did not answer in time.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_PATIENCE_SEC)
        try:
            with reachable(socket_file()) as name:
                connection.connect(name)
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        connection.sendall(json.dumps(request).encode() + b"\n")
        with connection.makefile("rb") as answer:
            line = answer.readline()
    if not line:
        raise ConnectionError("the run server ended before it answered")
    read: dict[str, Any] = json.loads(line)
    return read
