"""Which receivers there are, on whichever machines, and whether something waits in their spools.

A receiver that has the database says every two seconds how many files its spool has; so does not
one that is cut off from it, or was killed: what waits there comes into the inbox when a receiver
works with that home again. Whoever changes all that is stored of a client waits for those that
answer, and names the others.
"""

import os
import socket
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import psycopg

from callkeeper_assets.home import make_folder
from callkeeper_assets.language import tr
from callkeeper_assets.webhooks.spool import list_files

# Beside the spool, in its home.
_ID_FILE: Final = "receiver.id"
# A receiver that has its database drains its spool within a second or two.
_PATIENCE_SEC: Final = 15.0
_BETWEEN_LOOKS_SEC: Final = 0.2
SAY: Final = """
    INSERT INTO callkeeper_receivers (receiver_id, host, process, seen_at, spool_files)
    VALUES (%(receiver_id)s, %(host)s, %(process)s, clock_timestamp(), %(spool_files)s)
    ON CONFLICT (receiver_id) DO UPDATE SET
        host = excluded.host, process = excluded.process, seen_at = excluded.seen_at,
        spool_files = excluded.spool_files
"""
LEAVE: Final = """
    DELETE FROM callkeeper_receivers
    WHERE receiver_id = %(receiver_id)s AND process = %(process)s
"""
_OTHERS: Final = """
    SELECT receiver_id, host, process, seen_at, spool_files FROM callkeeper_receivers
    WHERE receiver_id <> %(receiver_id)s AND (spool_files > 0 OR seen_at <= %(since)s)
    ORDER BY host, receiver_id
"""
_NOW: Final = "SELECT clock_timestamp()"

Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class SilentReceiver:
    """A receiver in whose spool something may wait.

    Attributes:
        receiver_id: Of its home.
        seen_at: When it last had the database.
        spool_files: That it had then.
    """

    receiver_id: str
    host: str
    process: int
    seen_at: datetime
    spool_files: int

    def __str__(self) -> str:
        waiting = "webhooks wait in its spool" if self.spool_files else "its spool is not known"
        return (
            f"The receiver on {self.host} (process {self.process}) was last heard of at "
            f"{self.seen_at:%Y-%m-%d %H:%M:%S %Z}, and {waiting}"
        )


def read_id(folder: Path) -> str:
    """Return the name of a spool, which moves with it; empty if it has none yet."""
    try:
        return folder.with_name(_ID_FILE).read_text("utf-8").strip()
    except FileNotFoundError:
        return ""


def _make_id(folder: Path) -> str:
    file = folder.with_name(_ID_FILE)
    make_folder(file.parent)
    beside = file.with_name(f".{_ID_FILE}.{uuid.uuid4().hex}")
    beside.write_text(f"{uuid.uuid4().hex}\n", "utf-8")
    try:
        # Fails where another process was first, whose name counts.
        os.link(beside, file)
    except FileExistsError:
        pass
    finally:
        beside.unlink()
    return read_id(folder)


def describe(folder: Path) -> dict[str, object]:
    """Return the values of `SAY` and `LEAVE` for this process.

    Raises:
        OSError: The spool's folder cannot be read or written.
    """
    return {
        "receiver_id": read_id(folder) or _make_id(folder),
        "host": socket.gethostname(),
        "process": os.getpid(),
        "spool_files": len(list_files(folder)),
    }


def read_moment(connection: Connection) -> datetime:
    """Return the database's time, by which receivers say when they were there."""
    row = connection.execute(_NOW).fetchone()
    assert row is not None  # noqa: S101 -- it returns one
    moment: datetime = row[0]
    return moment


def list_silent(connection: Connection, own: Path, since: datetime) -> list[SilentReceiver]:
    """Return receivers of other homes that have not said since then that nothing waits.

    Args:
        connection: In autocommit.
        own: The spool of this home.
        since: By the database's clock.
    """
    values = {"receiver_id": read_id(own), "since": since}
    return [SilentReceiver(*row) for row in connection.execute(_OTHERS, values).fetchall()]


def wait_for_others(
    connection: Connection, own: Path, say: Callable[[str], None]
) -> list[SilentReceiver]:
    """Wait until other homes' receivers have drained their spools; return those that have not.

    Args:
        connection: In autocommit.
        own: The spool of this home, of which `drain_spool` takes care.
        say: Is called with a text if somebody has to wait.
    """
    since, until = read_moment(connection), time.monotonic() + _PATIENCE_SEC
    is_said = False
    while (left := list_silent(connection, own, since)) and time.monotonic() < until:
        if not is_said:
            say(tr("Waiting for the receivers of other machines to empty their spools."))
            is_said = True
        time.sleep(_BETWEEN_LOOKS_SEC)
    return left
