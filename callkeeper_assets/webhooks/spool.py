"""The spool: where deliveries wait on local disk while the database is away.

A folder in the home with a SQLite database for each process that needed one, so that receivers on
one home are not in each other's way, and that a full disk does not keep one from draining its own.
Its owner holds a lock; the kernel unlocks what a killed process leaves, and another one takes that
over. Files of releases before, `*.spool`, become such databases. Not safe for threads: one task at
a time may use it.
"""

import errno
import fcntl
import logging
import os
import sqlite3
import struct
import tempfile
import uuid
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Final, Self

import msgspec

from callkeeper_assets.home import make_folder
from callkeeper_assets.warehouse.records import Deleted
from callkeeper_assets.webhooks.payload import Delivery

_logger = logging.getLogger(__name__)

_SUFFIX: Final = ".sqlite"
_OLD_SUFFIX: Final = ".spool"
_TORN_SUFFIX: Final = ".torn"
_LOCK_SUFFIX: Final = ".lock"

_OLD_BEGINNING: Final = b"callkeeper spool 1\n"
_OLD_FRAME: Final = struct.Struct("<II")
# Of deliveries read at once; one, with a body of 1 MiB, must fit.
_WINDOW: Final = 4 * 1024 * 1024
# As much as a new database takes.
_PROBE: Final = b"x" * 64 * 1024

# Each commit reaches the disk by one fsync; what is deleted is overwritten.
_SETTINGS: Final = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON"
# Deliveries in the groups in which they came: to the database, each is a row.
_TABLE: Final = "groups (id INTEGER PRIMARY KEY, content BLOB NOT NULL, checksum INTEGER NOT NULL)"
# Of a database that is as it was written.
_SOUND: Final = [(b"ok",), (f"CREATE TABLE {_TABLE}".encode(),)]
_APPEND: Final = "INSERT INTO groups (content, checksum) VALUES (?, ?)"
_READ: Final = "SELECT id, content, checksum FROM groups WHERE id > ? ORDER BY id"
_REPLACE: Final = "UPDATE groups SET content = ?, checksum = ? WHERE id = ?"

_Group = list[Delivery]
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Group).decode
_decode_old = msgspec.msgpack.Decoder(Delivery).decode


def _write_probe(folder: Path) -> None:
    # Without a name: a kill leaves nothing behind.
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(_PROBE)


def _is_damage(error: Exception) -> bool:
    # An error in our statements is one of what they are held against.
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)


@contextmanager
def _as_os_error(path: Path) -> Iterator[None]:
    """Raise SQLite's errors as the system's, which say why; but for damage."""
    try:
        yield
    except UnicodeDecodeError as error:
        # It repeats what of a damaged schema it cannot read.
        raise sqlite3.DatabaseError("its schema is damaged") from error
    except sqlite3.Error as error:
        if _is_damage(error):
            raise
        if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_FULL:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        _write_probe(path.parent)
        raise OSError(errno.EIO, str(error), str(path)) from error


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
    )
    # What is damaged may be no text.
    connection.text_factory = bytes
    return connection


def _lock(path: Path, flags: int = 0) -> int | None:
    """Open and lock a file; None if somebody else holds it, or has removed it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | flags, 0o600)
    with suppress(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_nlink:
            return descriptor
    os.close(descriptor)
    return None


def _build_row(group: Sequence[Delivery]) -> tuple[bytes, int]:
    content = _encode(group)
    return content, zlib.crc32(content)


def _read_groups(
    connection: sqlite3.Connection, after: int = -1
) -> Iterator[tuple[int, _Group | None]]:
    """Yield each group's id and deliveries; None for one that is damaged."""
    for row_id, content, checksum in connection.execute(_READ, [after]):
        is_whole = isinstance(content, bytes) and zlib.crc32(content) == checksum
        yield row_id, _decode(content) if is_whole else None


class _Database:
    """One database of the spool, which this process owns.

    Its lock is a file of its own: on some systems SQLite's locks and ours are the same.

    Attributes:
        waiting: Deliveries that are still to be drained.

    Raises:
        OSError: It cannot be opened or made.
    """

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self.waiting = 0
        self._lock = lock
        # Whether the disk gave something back otherwise than it was written.
        self._is_damaged = False
        # The id up to which all is drained; how many were read since, and up to which id.
        self._position = 0
        self._read = (0, 0)
        with _as_os_error(path):
            self._connection = _connect(path, "rw")
        try:
            with _as_os_error(path):
                self._connection.executescript(_SETTINGS)
                self._connection.execute(f"CREATE TABLE IF NOT EXISTS {_TABLE}")
                sound = self._connection.execute("PRAGMA quick_check(1)").fetchall()
                sound += self._connection.execute("SELECT sql FROM sqlite_master").fetchall()
                self._is_damaged = sound != _SOUND
                for _, group in _read_groups(self._connection):
                    self.waiting += len(group or ())
                    self._is_damaged |= group is None
        except sqlite3.Error:
            self._is_damaged = True
        except OSError:
            self._connection.close()
            raise

    @classmethod
    def create(cls, folder: Path) -> Self:
        """Make a new, empty one.

        Raises:
            OSError: The disk does not take it; nothing is left of it.
        """
        make_folder(folder)
        path = folder / f"{uuid.uuid4().hex}{_SUFFIX}"
        # Before there is anything that somebody could take over.
        lock = _lock(path.with_suffix(_LOCK_SUFFIX), os.O_CREAT)
        assert lock is not None  # noqa: S101 -- nobody else knows the name
        try:
            # Not by SQLite, whose files others may read.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
            return cls(path, lock)
        except OSError:
            _remove(path, lock)
            raise

    @classmethod
    def take_over(cls, path: Path) -> Self | None:
        """Become the owner of one that was left; None if it has an owner, or is gone.

        Raises:
            OSError: It cannot be read.
        """
        lock = _lock(path.with_suffix(_LOCK_SUFFIX), os.O_CREAT)
        if lock is None:
            return None
        if not path.exists():
            # Its last owner has drained and removed it meanwhile.
            _remove(path, lock)
            return None
        try:
            return cls(path, lock)
        except OSError:
            os.close(lock)
            raise

    def append(self, groups: Iterable[Sequence[Delivery]]) -> None:
        """Append groups, all or none; they survive a power failure from then on.

        Raises:
            OSError: The disk does not take them.
        """
        added = 0
        with _as_os_error(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                for group in groups:
                    self._connection.execute(_APPEND, _build_row(group))
                    added += len(group)
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
        self.waiting += added

    def read(self, most: int) -> list[Delivery]:
        """Return the next deliveries, about so many; none if all that is left is damaged.

        Raises:
            OSError: The disk gives nothing.
        """
        deliveries: list[Delivery] = []
        size, last = 0, self._position
        try:
            with _as_os_error(self.path):
                for row_id, group in _read_groups(self._connection, last):
                    last = row_id
                    deliveries += group or ()
                    size += sum(len(one.body) for one in group or ())
                    if len(deliveries) >= most or size >= _WINDOW:
                        break
        except sqlite3.Error:
            pass
        if not deliveries:
            # What still should be there was, when it was taken over or appended.
            self._is_damaged |= self.waiting > 0
            self.waiting = 0
        self._read = (len(deliveries), last)
        return deliveries

    def forget_read(self) -> None:
        """Note that what was read last is drained."""
        count, self._position = self._read
        self.waiting -= count

    def drop(self, is_old: Callable[[Delivery], bool], *, dry_run: bool) -> Deleted:
        """Delete what is old; return how many, and the bytes of their bodies.

        Raises:
            OSError: The database cannot be read or written.
        """
        if not self.waiting:
            return Deleted()
        old: list[Delivery] = []
        changed: list[tuple[bytes, int, int]] = []
        with _as_os_error(self.path):
            for row_id, group in _read_groups(self._connection):
                kept = [one for one in group or () if not is_old(one)]
                if group and len(kept) < len(group):
                    old += [one for one in group if is_old(one)]
                    changed.append((*_build_row(kept), row_id))
            if not dry_run:
                self._connection.executemany(_REPLACE, changed)
                self.waiting -= len(old)
        return Deleted(len(old), sum(len(one.body) for one in old))

    def close(self) -> None:
        """Give it up: as it is, for the next process, or removed if it is drained.

        One that is drained and damaged is kept under another name.
        """
        self._connection.close()
        if self.waiting:
            # The next owner makes the lock anew.
            self.path.with_suffix(_LOCK_SUFFIX).unlink(missing_ok=True)
            os.close(self._lock)
            return
        if self._is_damaged:
            kept = self.path.with_suffix(_TORN_SUFFIX)
            self.path.rename(kept)
            _logger.warning(
                "The spool's file %s is damaged: the disk gave back something else than was "
                "written. All that could be read of it is in the inbox. The file is kept as %s; "
                "delete it when you have looked at it.",
                self.path.name,
                kept,
            )
        _remove(self.path, self._lock)


def _remove(path: Path, lock: int) -> None:
    for beside in ("", "-wal", "-shm"):
        Path(f"{path}{beside}").unlink(missing_ok=True)
    # Last: a process that waits for the lock finds that there is nothing.
    path.with_suffix(_LOCK_SUFFIX).unlink(missing_ok=True)
    os.close(lock)


def _read_old(path: Path) -> Iterator[tuple[bytes, int]]:
    """Yield each whole record of a file of a release before, and where it ends.

    Records are framed by length and checksum; before the first one stands an empty one.
    """
    with path.open("rb") as file:
        if file.read(len(_OLD_BEGINNING)) == _OLD_BEGINNING:
            yield b"", file.tell()
        while len(head := file.read(_OLD_FRAME.size)) == _OLD_FRAME.size:
            length, checksum = _OLD_FRAME.unpack(head)
            content = file.read(length) if length <= _WINDOW else b""
            # Zeros, which a power failure can leave, would be a whole record of nothing.
            if not length or len(content) < length or zlib.crc32(content) != checksum:
                return
            yield content, file.tell()


def _convert_old(path: Path) -> _Database | None:
    """Move a file of a release before into a database; None if it has an owner, or is gone.

    A kill in between leaves both, which stores nothing twice. What is torn at its end is kept.

    Raises:
        OSError: It cannot be read, or the database cannot be written; the file stays.
    """
    lock = None
    with suppress(FileNotFoundError):
        lock = _lock(path)
    if lock is None:
        return None
    made = None
    try:
        made = _Database.create(path.parent)
        made.append([_decode_old(content)] for content, _ in _read_old(path) if content)
        end = max((end for _, end in _read_old(path)), default=0)
        torn = path.stat().st_size - end
        if torn <= 0:
            path.unlink()
        else:
            kept = path.rename(path.with_suffix(_TORN_SUFFIX))
            _logger.warning(
                "The spool's file %s ended in %d bytes that are no whole record: they were being "
                "written when a receiver was killed, and were never answered for. All before them "
                "is in the inbox. The file is kept as %s; delete it when you have looked at it.",
                path.name,
                torn,
                kept,
            )
    except OSError:
        if made is not None:
            made.waiting = 0
            made.close()
        raise
    finally:
        os.close(lock)
    return made


def list_files(folder: Path) -> list[Path]:
    """Return the files of all processes in which something waits, or can wait; oldest first."""

    def find_age(path: Path) -> float:
        with suppress(OSError):
            return path.stat().st_mtime
        return 0.0

    paths = [*folder.glob(f"*{_OLD_SUFFIX}"), *folder.glob(f"*{_SUFFIX}")]
    return sorted(sorted(paths), key=find_age)


def is_spool_file(path: Path) -> bool:
    """Whether `read_spooled` reads a file; SQLite's own ones beside it are of it."""
    return path.suffix == _OLD_SUFFIX or path.suffix.startswith(_SUFFIX)


def read_spooled(folder: Path) -> Iterator[Delivery]:
    """Yield what waits in a folder's files, of all processes; what is damaged is left out.

    Raises:
        OSError: A file cannot be read.
    """
    for path in list_files(folder):
        with suppress(FileNotFoundError):
            if path.suffix == _OLD_SUFFIX:
                yield from (_decode_old(content) for content, _ in _read_old(path) if content)
            else:
                yield from _read_database(path)


def _read_database(path: Path) -> Iterator[Delivery]:
    try:
        with _as_os_error(path), closing(_connect(path, "ro")) as connection:
            for _, group in _read_groups(connection):
                yield from group or ()
    except sqlite3.Error:
        # Or it has no table yet: it is being made, or was when its process was killed.
        return
    except OSError:
        if path.exists():
            raise


def drop_old_payloads(folder: Path, source: str, before: datetime, *, dry_run: bool) -> Deleted:
    """Drop the payloads of a source that came before a moment; return how many, and their bytes.

    Only of what receivers left that are gone: a running one drains its own as soon as the database
    is there, and retention finds them in the inbox. What was torn is dropped as a whole once it is
    as old, whosever payloads it has: they are in the inbox.

    Raises:
        OSError: A file cannot be read, or a new one cannot be written; nothing is lost.
    """

    def is_old(delivery: Delivery) -> bool:
        return delivery.source == source and delivery.received_at < before

    dropped = Deleted()
    for path in list_files(folder):
        if dry_run and path.suffix == _OLD_SUFFIX:
            deliveries = (_decode_old(content) for content, _ in _read_old(path) if content)
            sizes = [len(one.body) for one in deliveries if is_old(one)]
            dropped += Deleted(len(sizes), sum(sizes))
        elif (taken := _take_over(path)) is not None:
            try:
                dropped += taken.drop(is_old, dry_run=dry_run)
            finally:
                taken.close()
    for path in sorted(folder.glob(f"*{_TORN_SUFFIX}")):
        details = path.stat()
        if details.st_mtime < before.timestamp():
            dropped += Deleted(1, details.st_size)
            if not dry_run:
                path.unlink()
    return dropped


def _take_over(path: Path) -> _Database | None:
    return _convert_old(path) if path.suffix == _OLD_SUFFIX else _Database.take_over(path)


class Spool:
    """A folder's databases, as far as they are this process's.

    Args:
        folder: Made when something has to be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # Appended to, until it is drained or the disk refuses; else there is none.
        self._own: _Database | None = None
        # The oldest first; all but its own are only drained.
        self._all: list[_Database] = []
        self._reading: _Database | None = None
        # Somebody else's; that is said once.
        self._unreadable: set[Path] = set()

    @property
    def waiting(self) -> int:
        """Deliveries that are still to be drained, of this process's databases."""
        return sum(one.waiting for one in self._all)

    def append(self, deliveries: Sequence[Delivery]) -> None:
        """Keep deliveries, all or none; they survive a power failure from then on.

        Raises:
            OSError: The disk does not take them.
        """
        if self._own is None:
            self._own = _Database.create(self.folder)
            self._all.append(self._own)
        try:
            self._own.append([deliveries])
        except OSError:
            # After a failed write nobody knows what a disk will do with the next one in that file.
            self._own = None
            raise

    def take_over(self) -> int:
        """Become the owner of files without one; return how many deliveries they hold."""
        left: list[_Database] = []
        owned = {one.path for one in self._all}
        for path in list_files(self.folder):
            if path in owned:
                continue
            try:
                taken = _take_over(path)
            except OSError as error:
                if path not in self._unreadable:
                    _logger.warning("The spool's file %s cannot be read: %s.", path, error)
                    self._unreadable.add(path)
                continue
            if taken is not None:
                left.append(taken)
        self._all = [*left, *self._all]
        return sum(one.waiting for one in left)

    def read(self, most: int) -> list[Delivery]:
        """Return the next deliveries to drain, the same ones until `forget_read` is called.

        Databases that have nothing more are removed; none is returned if all have.

        Raises:
            OSError: A database cannot be read.
        """
        while self._all:
            self._reading = self._all[0]
            if deliveries := self._reading.read(most):
                return deliveries
            drained = self._all.pop(0)
            if drained is self._own:
                self._own = None
            drained.close()
        return []

    def forget_read(self) -> None:
        """Note that what was read last is in the inbox."""
        if self._reading is not None:
            self._reading.forget_read()

    def probe(self) -> str | None:
        """Say why nothing can be kept; None if it can."""
        try:
            make_folder(self.folder)
            _write_probe(self.folder)
        except OSError as error:
            return error.strerror or type(error).__name__
        return None

    def close(self) -> None:
        """Give up all databases; what waits in them is left for the next process."""
        for one in self._all:
            one.close()
        self._own, self._all = None, []
