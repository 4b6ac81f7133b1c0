"""Locks in the database: of a run that is alive, and of a source whose stored calls are rewritten.

They are PostgreSQL's advisory locks of a session: they go with the process that held them, however
that ended and on whichever machine, so a dead run can be told from a slow one without guessing.
"""

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from callkeeper_assets.database.errors import LockLostError
from callkeeper_assets.database.locks import RUN_LOCK, SOURCE_LOCK, Lock

_BETWEEN_LOOKS_SEC: Final = 0.1


@dataclass
class _Hold:
    """A run's lock in this process: one connection, however many hold it."""

    lock: Lock
    holders: int


# One thread executes a run, so that nobody meets at a run's entry.
_holds: dict[str, _Hold] = {}


def _lock_number(run_id: str) -> int:
    return int.from_bytes(hashlib.sha256(run_id.encode()).digest()[:4], "big", signed=True)


def _take_run_lock(url: str, run_id: str) -> Lock:
    lock = Lock(url, f"run {run_id}")
    try:
        # Waits while somebody marks the run as ended, for some milliseconds.
        lock.wait(RUN_LOCK, _lock_number(run_id), shared=True)
    except BaseException:
        lock.close()
        raise
    return lock


def _is_held(lock: Lock) -> bool:
    try:
        lock.check()
    except LockLostError:
        return False
    return True


@contextmanager
def held_run_lock(url: str, run_id: str) -> Iterator[None]:
    """Hold a run's lock; several holders of one run do not hinder each other.

    Those of one process share a connection; one that has gone meanwhile is made anew. Who does
    something that only a run under way may do then has to look whether the run still is.

    Raises:
        DatabaseError: The database cannot be reached.
    """
    hold = _holds.get(run_id)
    if hold is None:
        hold = _holds[run_id] = _Hold(_take_run_lock(url, run_id), 0)
    elif not _is_held(hold.lock):
        hold.lock.close()
        hold.lock = _take_run_lock(url, run_id)
    hold.holders += 1
    try:
        yield
    finally:
        hold.holders -= 1
        if not hold.holders:
            del _holds[run_id]
            hold.lock.close()


@contextmanager
def tried_run_lock_alone(url: str, run_id: str) -> Iterator[bool]:
    """Hold a run's lock alone if no process does, and yield whether it is so.

    Inside the block no process of the run can start: one that comes waits, and sees what was done.

    Raises:
        DatabaseError: The database cannot be reached.
    """
    with Lock(url, f"run {run_id}") as lock:
        yield lock.attempt(RUN_LOCK, _lock_number(run_id))


def is_run_gone(url: str, run_id: str, patience_sec: float) -> bool:
    """Whether no process holds the run's lock, be it after a moment.

    Raises:
        DatabaseError: The database cannot be reached.
    """
    deadline = time.monotonic() + patience_sec
    while is_run_alive(url, run_id):
        if time.monotonic() > deadline:
            return False
        time.sleep(_BETWEEN_LOOKS_SEC)
    return True


def is_run_alive(url: str, run_id: str) -> bool:
    """Whether some process holds the run's lock.

    Raises:
        DatabaseError: The database cannot be reached.
    """
    with tried_run_lock_alone(url, run_id) as is_gone:
        return not is_gone


@contextmanager
def held_source_lock(url: str, source: str) -> Iterator[None]:
    """Hold a source's lock together with other runs: none of its stored calls is rewritten.

    Not to be nested: who waits to have it alone lets nobody else in.

    Raises:
        DatabaseError: The database cannot be reached.
    """
    with _open_source_lock(url, source) as lock:
        lock.wait(*_source_key(source), shared=True)
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
    with _open_source_lock(url, source) as lock:
        if not lock.attempt(*_source_key(source)):
            say_waiting()
            lock.wait(*_source_key(source))
        yield


def _open_source_lock(url: str, source: str) -> Lock:
    return Lock(url, f"source '{source}'")


def _source_key(source: str) -> tuple[int, int]:
    return SOURCE_LOCK, _lock_number(source)
