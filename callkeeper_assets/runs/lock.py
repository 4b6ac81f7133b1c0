"""Locks in the database: of a run that is alive, and of a source whose stored calls are rewritten.

They are PostgreSQL's advisory locks of a session: they go with the process that held them, however
that ended and on whichever machine, so a dead run can be told from a slow one without guessing.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from callkeeper_assets.database.url import connect

# Advisory locks have two numbers; this first one keeps runs apart from all other locks.
_CLASS: Final = 0x434B5256
_SOURCE_CLASS: Final = 0x434B5253


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


@contextmanager
def held_source_lock(url: str, source: str) -> Iterator[None]:
    """Hold a source's lock together with other runs: none of its stored calls is rewritten.

    Not to be nested: who waits to have it alone lets nobody else in.

    Raises:
        DatabaseError: The database cannot be reached.
    """
    with connect(url, autocommit=True) as connection:
        key = (_SOURCE_CLASS, _lock_number(source))
        connection.execute("SELECT pg_advisory_lock_shared(%s, %s)", key)
        yield


@contextmanager
def held_source_lock_alone(
    url: str, source: str, say_waiting: Callable[[], None]
) -> Iterator[None]:
    """Hold a source's lock alone: no run writes or deletes any of its calls meanwhile.

    Args:
        url: Of the database.
        source: Its name.
        say_waiting: Called once if there are runs to wait for.

    Raises:
        DatabaseError: The database cannot be reached.
    """
    with connect(url, autocommit=True) as connection:
        key = (_SOURCE_CLASS, _lock_number(source))
        row = connection.execute("SELECT pg_try_advisory_lock(%s, %s)", key).fetchone()
        if row is None or not row[0]:
            say_waiting()
            connection.execute("SELECT pg_advisory_lock(%s, %s)", key)
        yield
