"""What a supervisor is told of a process: that it is ready, that it lives, that it ends.

systemd's protocol, sd_notify(3): datagrams to the socket that `NOTIFY_SOCKET` names. Where nobody
has set it nothing is said. Stays light to import.
"""

import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

_LOOK_SEC: Final = 0.2
_PATIENCE_SEC: Final = 0.5


def notify(state: str) -> None:
    """Tell the supervisor a state, as `READY=1`; nothing where there is none, or it has gone."""
    name = os.environ.get("NOTIFY_SOCKET")
    if not name:
        return
    # An abstract socket's name is written with an @.
    address = f"\0{name[1:]}" if name.startswith("@") else name
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        # A supervisor that does not listen holds nobody up.
        channel.settimeout(_PATIENCE_SEC)
        channel.connect(address)
        channel.sendall(state.encode())


def find_watchdog_pause() -> float | None:
    """Return after how many seconds a sign of life is due, twice as often as asked for.

    None where nobody watches this process.
    """
    within = os.environ.get("WATCHDOG_USEC", "")
    whom = os.environ.get("WATCHDOG_PID") or str(os.getpid())
    if not within.isdecimal() or not int(within) or whom != str(os.getpid()):
        return None
    return int(within) / 2_000_000


def report_from_thread(is_ready: Callable[[], bool], is_well: Callable[[], bool]) -> None:
    """Tell of readiness and then of life, from a thread that ends with this process.

    Args:
        is_ready: Is asked until it is so.
        is_well: Is asked for each sign of life, which is not given if it is not so.
    """
    if os.environ.get("NOTIFY_SOCKET"):
        name = "callkeeper-supervision"
        threading.Thread(target=_report, args=(is_ready, is_well), name=name, daemon=True).start()


def _report(is_ready: Callable[[], bool], is_well: Callable[[], bool]) -> None:
    while not is_ready():
        time.sleep(_LOOK_SEC)
    notify("READY=1")
    pause = find_watchdog_pause()
    while pause:
        if is_well():
            notify("WATCHDOG=1")
        time.sleep(pause)
