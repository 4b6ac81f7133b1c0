"""A run that is alive holds a lock in the database; a run without it is dead.

The lock is PostgreSQL's advisory lock of a session: it goes with the process that held it, however
that ended and on whichever machine, so a dead run can be told from a slow one without guessing.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from callkeeper_assets.database.url import connect

# Advisory locks have two numbers; this first one keeps runs apart from all other locks.
_CLASS: Final = 0x434B5256


def _lock_number(run_id: str) -> int:
    return int.from_bytes(hashlib.sha256(run_id.encode()).digest()[:4], "big", signed=True)


@contextmanager
def held_run_lock(url: str, run_id: str) -> Iterator[None]:
    """Hold a run's lock; several holders of one run do not hinder each other.

    Raises:
        DatabaseError: The database cannot be reached.
    """
    with connect(url, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock_shared(%s, %s)", (_CLASS, _lock_number(run_id)))
        yield


def is_run_alive(url: str, run_id: str) -> bool:
    """Whether some process holds the run's lock.

    Raises:
        DatabaseError: The database cannot be reached.
    """
    with connect(url, autocommit=True) as connection:
        row = connection.execute(
            "SELECT pg_try_advisory_lock(%s, %s)", (_CLASS, _lock_number(run_id))
        ).fetchone()
    return row is not None and not row[0]
