"""Advisory locks: of runs that are alive, of sources whose stored calls are rewritten, of work.

A process knows which locks it holds and over which connection; before each commit it asks after
them. A lock that is gone ends the work: `LockLostError`, nothing more is stored.
"""

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

from callkeeper_assets.language import tr
from callkeeper_assets.postgres.errors import DatabaseLostError, LockLostError

if TYPE_CHECKING:
    from types import TracebackType

    import psycopg

    from callkeeper_assets.postgres.connection import Connection

# A machine that vanished keeps a lock no longer than a minute; by the system's default two hours.
# Never of a connection that moves rows: it would end one whose server takes its time to read.
_USER_TIMEOUT_MS: Final = 60_000
_OF_THE_SERVER: Final = (
    "SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3; "
    f"SET tcp_user_timeout = {_USER_TIMEOUT_MS}"
)

# The keys of all our locks, so that no two are one. Of two numbers, what is kept and whose: the
# calls of an account, its reports, a run by its id's hash, that it is executed, a source by its
# name's.
CALLS_LOCK: Final = 0x636B
REPORTS_LOCK: Final = 0x636C
RUN_LOCK: Final = 0x434B5256
RUN_CLAIM_LOCK: Final = 0x434B5243
SOURCE_LOCK: Final = 0x434B5253
# Of reports that are no account's alone: their tables.
REPORT_TABLES_LOCK: Final = (REPORTS_LOCK, 0)
# Of one number, which is none of those above: the tables' migration; rows of dimensions that no
# fact refers to yet, held shared by who uses them and alone by who deletes them; Dagster's storage,
# held by who makes or moves it; its daemon; the backup, of which there is one at a time; causes of
# alerts, by who changes them.
MIGRATION_LOCK: Final = 0x636B_0001
DIMENSIONS_LOCK: Final = 0x636B_0003
DAEMON_LOCK: Final = 0x636B_0005
STORAGE_LOCK: Final = 7_164_022_201
ALERTS_LOCK: Final = 0x636B_0004
BACKUP_LOCK: Final = 0x636B_0B0B
GRANTS_LOCK: Final = 0x636B_0006

_held: "set[Lock]" = set()

_BETWEEN_LOOKS_SEC: Final = 0.1
# The second number of each lock that a first one has, as pg_locks shows it: without a sign.
_HELD: Final = """
    SELECT l.objid::bigint
    FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database
    WHERE l.locktype = 'advisory' AND l.classid = %s AND l.objsubid = 2 AND l.granted
        AND d.datname = current_database()
"""
_UNSIGNED: Final = 1 << 32


class Lock:
    """A connection for advisory locks of a session; they go when it is closed, or is gone.

    While one is held, nothing is committed by this process if it is gone. Used by one thread,
    looked after by any.

    Raises:
        DatabaseError: The database cannot be reached.
        DatabaseLostError: It went away, or ended a wait.
    """

    def __init__(self, url: str, what: str) -> None:
        """Connect.

        Args:
            url: Of the database.
            what: Whose lock it is for, as the error says: `the run …`.
        """
        from callkeeper_assets.postgres.url import connect  # noqa: PLC0415 -- it looks here

        self._what = what
        self._guard = threading.Lock()
        self._connection = connect(
            url, autocommit=True, parameters={"tcp_user_timeout": _USER_TIMEOUT_MS}
        )
        try:
            self._execute(_OF_THE_SERVER)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: "TracebackType | None",
    ) -> None:
        """Close the connection, as a connection's own context is left."""
        with self._guard:
            self._unlock()
            self._connection.__exit__(kind, error, trace)

    @property
    def connection(self) -> "Connection":
        """For what is done under the lock, and has to end with it."""
        return self._connection

    def wait(self, *key: int, shared: bool = False) -> None:
        """Wait until the lock of one number or two is ours, alone or together with others."""
        self._lock("pg_advisory_lock_shared" if shared else "pg_advisory_lock", key)
        # Not while it waits: who looks after it would wait with it.
        _held.add(self)

    def attempt(self, *key: int) -> bool:
        """Take the lock alone if nobody has it; return whether it is ours."""
        is_ours = self._lock("pg_try_advisory_lock", key)
        if is_ours:
            _held.add(self)
        return is_ours

    def check(self) -> None:
        """See that the connection, and with it what it has locked, is still there.

        Raises:
            LockLostError: It is not.
        """
        try:
            with self._guard:
                if self in _held:  # another thread may have let go of it meanwhile
                    self._execute("SELECT 1")
        except DatabaseLostError as error:
            raise LockLostError(
                tr(
                    "The lock of {what} has gone, since its connection was ended. {error} "
                    "Somebody else may be doing the same by now, so nothing more is stored. If "
                    "this comes again, find out what ends connections that are idle: a firewall, "
                    "a failover, an administrator.",
                    what=self._what,
                    error=error,
                )
            ) from None

    def close(self) -> None:
        """Close the connection; its locks go."""
        with self._guard:
            self._unlock()
            self._connection.close()

    def _unlock(self) -> None:
        """Give up what is held before the connection is closed.

        The server sees some milliseconds later that one was closed, and who comes in between would
        be refused for work that has ended.
        """
        if self not in _held:
            return
        import psycopg  # noqa: PLC0415 -- as below

        _held.discard(self)
        if self._connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE:
            with suppress(psycopg.OperationalError):
                self._connection.execute("SELECT pg_advisory_unlock_all()")

    def _lock(self, function: str, key: tuple[int, ...]) -> bool:
        places = ", ".join(["%s"] * len(key))
        return self._execute(f"SELECT {function}({places})", key)

    def _execute(self, statement: str, values: tuple[int, ...] = ()) -> bool:
        """Run a statement; return whether the first column of its first row, if any, is true."""
        import psycopg  # noqa: PLC0415 -- 0.1 s, which a command without a database need not pay

        from callkeeper_assets.postgres.connection import explain_loss  # noqa: PLC0415

        try:
            cursor = self._connection.execute(statement.encode(), values or None)
            row = cursor.fetchone() if cursor.description else None
        except psycopg.OperationalError as error:
            raise explain_loss(self._connection.place, error) from None
        return row is not None and bool(row[0])


def lock_transaction(connection: "psycopg.Connection[Any]", *key: int | None) -> None:
    """Wait until the lock of one number or two is the transaction's, to its end.

    Without one of its numbers it is nobody's, and not waited for.
    """
    places = ", ".join(["%s"] * len(key))
    connection.execute(f"SELECT pg_advisory_xact_lock({places})".encode(), key)


def check_locks() -> None:
    """See that this process still has the locks that it took; before each commit.

    Raises:
        LockLostError: One of them has gone.
    """
    for lock in tuple(_held):
        lock.check()


os.register_at_fork(after_in_child=_held.clear)


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
def claimed_run(url: str, run_id: str) -> Iterator[bool]:
    """Hold a run's lock, and yield whether this process is the one that may execute it.

    Raises:
        DatabaseError: The database cannot be reached.
    """
    with held_run_lock(url, run_id):
        yield _holds[run_id].lock.attempt(RUN_CLAIM_LOCK, _lock_number(run_id))


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


def list_alive(connection: "Connection", run_ids: Iterable[str]) -> list[str]:
    """Return those of the runs whose lock some process holds; takes no lock."""
    rows = connection.execute(_HELD, (RUN_LOCK,)).fetchall()
    held = {row[0] for row in rows}
    return [run_id for run_id in run_ids if _lock_number(run_id) % _UNSIGNED in held]


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
