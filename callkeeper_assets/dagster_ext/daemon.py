"""Dagster's daemon, one for a database: `python -m callkeeper_assets.dagster_ext.daemon run …`.

Two would start each schedule's runs twice, on whichever machines they are. The lock is the
database's, and goes with the process. If its connection is lost it is taken anew; a daemon that
finds another in its place ends. So does one whose clock is set back: see `clock`.
"""

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from callkeeper_assets.postgres.errors import DatabaseError, LockLostError
from callkeeper_assets.postgres.locks import DAEMON_LOCK, Lock
from callkeeper_assets.postgres.url import connect, database_url, describe

if TYPE_CHECKING:
    from callkeeper_assets.dagster_ext.clock import WallClock

_BETWEEN_LOOKS_SEC: Final = 5.0
# The one before may be ending, or its machine has just gone down.
_PATIENCE_SEC: Final = 4.0
# Dagster's daemon reads all definitions anew each minute, for changes that nobody told it of: half
# of an idle daemon's work. It is told of a code server that was replaced. After 300 s in which it
# could not, it would end.
_BETWEEN_READINGS_SEC: Final = 240
# It asks each second whether the code server is another one by now. A run reads its code itself.
_BETWEEN_QUESTIONS_SEC: Final = 3
# By its connection's name: PostgreSQL keeps 63 bytes of it.
_NAME: Final = "callkeeper daemon"
_HOLDER: Final = """
    SELECT a.application_name, a.client_addr::text, a.backend_start
    FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)
        JOIN pg_database AS d ON d.oid = l.database
    WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.classid = 0 AND l.objid = %s
        AND l.granted AND d.datname = current_database()
"""


class SecondDaemonError(DatabaseError):
    """Another daemon works with this database."""


def find_daemon(url: str) -> str | None:
    """Return what a person needs to find the daemon of a database; None if there is none.

    Raises:
        DatabaseError: The database cannot be reached.
    """
    with connect(url, autocommit=True) as connection:
        row = connection.execute(_HOLDER, (DAEMON_LOCK,)).fetchone()
    if row is None:
        return None
    name, address, since = row
    # Another role's connections are not shown.
    where = str(name or "").partition(f"{_NAME} ")[2]
    number, _, host = where.partition(" ")
    who = f"process {number} on {host}" if host else "a process of another role's"
    return f"{who} (connected from {address or 'the same machine'} since {since:%Y-%m-%d %H:%M %Z})"


def explain_second(url: str, other: str) -> str:
    """Return what to do where there is another daemon already."""
    return (
        f"A daemon works with {describe(url)} already: {other}. Two would start each schedule's "
        "runs twice. Stop that one; or run `callkeeper worker` here, to do its runs."
    )


def _take(url: str) -> Lock | None:
    lock = Lock(url, "Dagster's daemon")
    name = f"{_NAME} {os.getpid()} {socket.gethostname()}"
    lock.connection.execute("SELECT set_config('application_name', %s, false)", (name[:63],))
    if lock.attempt(DAEMON_LOCK):
        return lock
    lock.close()
    return None


def _take_or_refuse(url: str) -> Lock:
    deadline = time.monotonic() + _PATIENCE_SEC
    while (lock := _take(url)) is None:
        if time.monotonic() > deadline:
            raise SecondDaemonError(explain_second(url, find_daemon(url) or "it has just ended"))
        time.sleep(_BETWEEN_LOOKS_SEC / 10)
    return lock


@contextmanager
def held_alone(url: str) -> Iterator[None]:
    """Be the only daemon of a database while the block runs.

    If another has taken its place, the process is interrupted.

    Raises:
        SecondDaemonError: There is another; the text says where.
        DatabaseError: The database cannot be reached.
    """
    held = [_take_or_refuse(url)]
    is_over = threading.Event()

    def look() -> None:
        while not is_over.wait(_BETWEEN_LOOKS_SEC):
            try:
                held[0].check()
            except LockLostError:
                held[0].close()
                # Without its database the daemon does nothing; it comes back.
                try:
                    held[0] = _take_or_refuse(url)
                except SecondDaemonError as error:
                    sys.stderr.write(f"{error}\n")
                    os.kill(os.getpid(), signal.SIGINT)
                    return
                except DatabaseError:
                    continue

    watcher = threading.Thread(target=look, name="callkeeper-daemon-lock", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        is_over.set()
        watcher.join()
        held[0].close()


def _watch(clock: "WallClock") -> None:
    """End the process when its clock is set back: its supervisor starts it again."""
    while True:
        time.sleep(_BETWEEN_LOOKS_SEC)
        setback = clock.measure_setback()
        if setback:
            sys.stderr.write(
                f"The clock was set back by {setback:.0f} s, until when schedules and sensors "
                "would rest: the daemon starts anew.\n"
            )
            sys.stderr.flush()
            # As if it was killed, from which it recovers: what it does now may wait for the clock.
            os._exit(1)


def main() -> None:
    """Run the daemon; its arguments are Dagster's."""
    # After the lock: a second daemon is refused at once.
    import dagster as dg  # noqa: PLC0415
    from dagster._daemon import controller  # noqa: PLC0415
    from dagster._daemon.cli import main as run  # noqa: PLC0415
    from dagster._grpc import server_watcher  # noqa: PLC0415

    from callkeeper_assets.dagster_ext.clock import WallClock, forget_future  # noqa: PLC0415
    from callkeeper_assets.dagster_ext.queue_daemon import PromptQueueDaemon  # noqa: PLC0415

    url = database_url()
    controller.QueuedRunCoordinatorDaemon = PromptQueueDaemon  # type: ignore[attr-defined]
    controller.RELOAD_WORKSPACE_INTERVAL = _BETWEEN_READINGS_SEC
    server_watcher.WATCH_INTERVAL = _BETWEEN_QUESTIONS_SEC
    try:
        with held_alone(url):
            with dg.DagsterInstance.get() as instance:
                forget_future(instance, url)
            threading.Thread(target=_watch, args=(WallClock(),), daemon=True).start()
            run()
    except DatabaseError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
