"""The embedded PostgreSQL's life: started by the first process that needs it, stopped by the last.

The kernel counts the users: each holds a shared lock on `<home>/postgres.users`, which no way of
dying can leave behind. A server left over by a killed process is used by the next one. A second
lock, `<home>/postgres.lock`, lets one process at a time start or stop it.
"""

import atexit
import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from callkeeper_assets.database.cluster import NAME, SETTINGS, Cluster, open_cluster
from callkeeper_assets.database.errors import DatabaseError
from callkeeper_assets.database.postmaster import find_postmaster, start_postmaster, stop_postmaster
from callkeeper_assets.file_locks import find_lock_problem


@contextmanager
def _explained(home: Path) -> Iterator[None]:
    """Turn what the file system refuses into a `DatabaseError`."""
    try:
        yield
    except PermissionError as error:
        raise DatabaseError(
            f"The embedded database in {home} is not open to this user: {error}. Run as the user "
            f"who made it, or set CALLKEEPER_HOME to a folder of your own, or "
            f"CALLKEEPER_DATABASE_URL to a PostgreSQL of your own."
        ) from error
    except OSError as error:
        raise DatabaseError(f"The embedded database in {home} cannot be used: {error}.") from error


def _refuse_without_locks(home: Path) -> None:
    """Raise where the server's users cannot be counted: one that ends would stop it for all."""
    problem = find_lock_problem(home)
    if problem:
        raise DatabaseError(f"The embedded database in {home} cannot be used. {problem}")


def _lock(path: Path, operation: int) -> int:
    """Lock a file, making it, and return its descriptor: closing it unlocks."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, operation)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


class EmbeddedPostgres:
    """One home's PostgreSQL, as used by this process; a context manager.

    Args:
        home: the installation's home, made if it is missing.
        settings: for a data folder that is still to be made.
        sync: whether a data folder that is still to be made must survive a power failure.
    """

    def __init__(
        self, home: Path, settings: Mapping[str, str] = SETTINGS, *, sync: bool = True
    ) -> None:
        self._home = home
        self._settings = settings
        self._sync = sync
        self._cluster: Cluster | None = None
        self._url = ""
        self._pid = 0
        self._use: int | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        descriptor = _lock(self._home / "postgres.lock", fcntl.LOCK_EX)
        try:
            yield
        finally:
            os.close(descriptor)

    def start(self) -> str:
        """Use the server from now on, starting it if need be; return its URL.

        Cheap when this process uses it already, and then starts a server that died meanwhile.

        Raises:
            DatabaseError: the data folder cannot be used, or the server does not start.
        """
        with _explained(self._home):
            if self._use is not None and self._cluster is not None:
                found = find_postmaster(self._cluster.data)
                if found is not None and found.is_ready and found.pid == self._pid:
                    return self._url
            self._home.mkdir(parents=True, exist_ok=True)
            if self._use is None:
                _refuse_without_locks(self._home)
            with self._alone():
                cluster = open_cluster(self._home.resolve(), self._settings, sync=self._sync)
                password = cluster.password
                server = start_postmaster(cluster)
                if self._use is None:
                    self._use = _lock(self._home / "postgres.users", fcntl.LOCK_SH)
                    atexit.register(self.stop)
        self._cluster, self._pid = cluster, server.pid
        self._url = f"postgresql://{NAME}:{password}@127.0.0.1:{server.port}/{NAME}"
        return self._url

    def stop(self) -> None:
        """Use the server no longer; the last of its users stops it.

        Raises:
            DatabaseError: it does not stop.
        """
        if self._use is None:
            return
        atexit.unregister(self.stop)
        if not self._home.is_dir():
            # Deleted under the server's feet: it notices by itself within a minute, and ends.
            os.close(self._use)
            self._use = None
            return
        with _explained(self._home), self._alone():
            # Closed, not unlocked: a forked child has the same lock, and may still need the server.
            os.close(self._use)
            self._use = None
            try:
                alone = _lock(self._home / "postgres.users", fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            try:
                if self._cluster is not None:
                    stop_postmaster(self._cluster.data)
            finally:
                os.close(alone)
