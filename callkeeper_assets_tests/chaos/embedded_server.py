"""The embedded PostgreSQL as something that can be killed."""

import os
import signal
from pathlib import Path


def kill_server(home: Path) -> bool:
    """Kill a home's server with -9, if it runs at this moment; return whether it did."""
    file = (home / "postgres").resolve() / "data" / "postmaster.pid"
    try:
        pid = int(file.read_text().splitlines()[0])
        is_server = Path(f"/proc/{pid}/exe").resolve().name == "postgres"
        if is_server:
            os.kill(pid, signal.SIGKILL)
    except (OSError, IndexError, ValueError):
        return False
    return is_server
