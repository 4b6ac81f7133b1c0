"""Where backups lie: a folder, or an object store by its URL; what is written there is whole.

A file gets its name when all of it is on the disk; an object store shows an object only then. Names
are relative, with `/` between their parts.
"""

import hashlib
import io
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Final, NamedTuple, Protocol
from urllib.parse import urlsplit, urlunsplit

from callkeeper_assets.language import look_up, mark, tr
from callkeeper_assets.object_store import open_files
from callkeeper_assets.raw.place import list_errors

_BLOCK: Final = 1 << 20
# Of a file in an object store, to be sent within a request's limit over a slow line.
_PART_BYTES: Final = 8 << 20


class BackupError(Exception):
    """A backup cannot be made, read or restored; the text says why and what to do."""


class DamagedError(BackupError):
    """What a backup has of something is not what was written."""


class Written(NamedTuple):
    """What was written: its size in bytes, and the hash of its content."""

    size: int
    sha256: str


class _Digest(Protocol):
    def update(self, data: Any, /) -> None: ...  # noqa: ANN401 -- any buffer
    def hexdigest(self) -> str: ...


class _Hashing(io.RawIOBase):
    """Passes bytes on to a file or from one, and knows their hash; closing it does nothing."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._digest: _Digest = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:  # noqa: ANN401 -- any buffer
        self._file.write(data)
        return self._note(data)

    def readinto(self, buffer: Any, /) -> int:  # noqa: ANN401 -- any buffer
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return self._note(data)

    def drain(self) -> Written:
        """Read what is left, and say what all of it is."""
        while self.read(_BLOCK):
            pass
        return self.describe()

    def _note(self, data: Any) -> int:  # noqa: ANN401 -- any buffer
        self._digest.update(data)
        size = len(data)
        self.size += size
        return size

    def close(self) -> None:
        """Stay open: what compresses closes what it was given, and the rest is still to be read."""

    def describe(self) -> Written:
        """Say what was written, or read so far."""
        return Written(self.size, self._digest.hexdigest())


class Place:
    """A folder or an fsspec URL, with what backups have put there.

    Args:
        url: As `CALLKEEPER_BACKUP_URL` has it; credentials come from the file system's own
            environment variables.

    Raises:
        BackupError: No file system is known, or installed, for the URL.
    """

    def __init__(self, url: str) -> None:
        self.name = hide_password(url)
        try:
            # Listings are not cached: another process may have written since.
            self._files, root = open_files(url, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            raise BackupError(
                tr(
                    "Backups cannot lie at {place} ({error}). Name a folder, or install the file "
                    "system's package (s3:// needs the extra: pip install "
                    "'callkeeper-assets[s3]').",
                    place=self.name,
                    error=error,
                )
            ) from error
        self._errors = list_errors(url)
        self._root = root.rstrip("/")
        self._is_local = isinstance(self._files.protocol, tuple) and "file" in self._files.protocol
        self._written: set[Path] = set()

    @property
    def folder(self) -> Path | None:
        """The folder; None of an object store."""
        return Path(self._root) if self._is_local else None

    @contextmanager
    def explaining(self, problem: str) -> Iterator[None]:
        """Say what the place refuses.

        Args:
            problem: What cannot be done, a marked text: `cannot be read`.

        Raises:
            BackupError: In place of an error of the file system's.
        """
        try:
            yield
        except self._errors as error:
            cause = getattr(error, "strerror", None) or error
            raise BackupError(
                tr(
                    "The backups at {place} {problem}: {cause}. Check the place's "
                    "permissions, free space and credentials. Backups that were complete stay as "
                    "they are.",
                    place=self.name,
                    problem=look_up(problem),
                    cause=cause,
                )
            ) from error

    def list_folders(self) -> list[str]:
        """Return the names of the folders, sorted; none of a place that is not there yet."""
        with self.explaining(mark("cannot be listed")):
            try:
                found = self._files.ls(self._root, detail=True)
            except FileNotFoundError:
                return []
        names = (one["name"].rstrip("/") for one in found if one["type"] == "directory")
        return sorted(name.rpartition("/")[2] for name in names)

    def list_files(self, folder: str) -> dict[str, int]:
        """Return the names of all files below a folder, with their sizes in bytes."""
        with self.explaining(mark("cannot be listed")):
            found: dict[str, dict[str, Any]] = self._files.find(
                f"{self._root}/{folder}", detail=True
            )
        start = f"{self._root}/"
        return {
            path.removeprefix(start): one["size"]
            for path, one in found.items()
            if path.startswith(f"{start}{folder}/")
        }

    def find_age(self, name: str, now: float) -> float:
        """Return how many seconds ago a file was written; 0 where the store does not say."""
        with suppress(OSError, NotImplementedError, KeyError):
            return now - float(self._files.modified(f"{self._root}/{name}").timestamp())
        return 0.0

    def read(self, name: str) -> bytes | None:
        """Return a file's content; None if there is none."""
        with self.explaining(mark("cannot be read")):
            try:
                content: bytes = self._files.cat_file(f"{self._root}/{name}")
            except (FileNotFoundError, NotADirectoryError):
                return None
            return content

    @contextmanager
    def reading(self, name: str) -> Iterator[_Hashing]:
        """Open a file to read it in parts; its hash is known when all of it is read.

        Raises:
            DamagedError: It is gone.
        """
        with self.explaining(mark("cannot be read")):
            try:
                with self._files.open(f"{self._root}/{name}", "rb") as file:
                    yield _Hashing(file)
            except FileNotFoundError:
                raise DamagedError(
                    tr("{file} is gone from the backups at {place}.", file=name, place=self.name)
                ) from None

    def write(self, name: str, content: bytes) -> Written:
        """Write a file at once."""
        with self.writing(name) as file:
            file.write(content)
        return file.describe()

    @contextmanager
    def writing(self, name: str) -> Iterator[_Hashing]:
        """Write a file in parts; it is there when the context ends, and not if it fails."""
        path = f"{self._root}/{name}"
        with self.explaining(mark("cannot be written")):
            if self._is_local:
                with _replacing(Path(path)) as file:
                    yield _Hashing(file)
                self._written.update(Path(path).parents)
                return
            file = self._files.open(path, "wb", block_size=_PART_BYTES, autocommit=False)
            try:
                hashing = _Hashing(file)
                yield hashing
                file.close()
                file.commit()
            except BaseException:
                with suppress(OSError, NotImplementedError):
                    file.discard()
                raise

    def delete(self, name: str) -> None:
        """Delete a file; one that is gone already is no error."""
        with self.explaining(mark("cannot be deleted")), suppress(FileNotFoundError):
            self._files.rm_file(f"{self._root}/{name}")

    def delete_folder(self, folder: str) -> None:
        """Delete a folder with all that is in it."""
        for name in self.list_files(folder):
            self.delete(name)
        local = self.folder
        if local is not None:
            for path in sorted((local / folder).rglob("*"), reverse=True):
                with suppress(OSError):
                    # What a killed process was writing has a name that is not listed.
                    path.rmdir() if path.is_dir() else path.unlink()
            with suppress(OSError):
                (local / folder).rmdir()

    def sync(self) -> None:
        """See that the names of all files written so far survive a power failure."""
        with self.explaining(mark("cannot be written")):
            for folder in self._written:
                # A new folder's own name is in the one above it.
                if folder.is_relative_to(Path(self._root).parent):
                    _sync_folder(folder)
        self._written.clear()


@contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    """Write beside, make it durable, rename. Others than the owner may not read a backup."""
    if not path.parent.exists():
        # `parents` would give those above the usual permissions.
        for folder in reversed([path.parent, *path.parent.parents]):
            folder.mkdir(mode=0o700, exist_ok=True)
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def hash_content(content: bytes) -> str:
    """Return the hash by which a content is known."""
    return hashlib.sha256(content).hexdigest()


def hide_password(url: str) -> str:
    """Return a URL as people may see it."""
    parts = urlsplit(url)
    if "@" not in parts.netloc:
        return url
    return urlunsplit(parts._replace(netloc=f"…@{parts.netloc.rpartition('@')[2]}"))


@contextmanager
def compressing(file: _Hashing) -> Iterator[IO[bytes]]:
    """Write what is compressed on its way (zstd)."""
    import pyarrow as pa  # noqa: PLC0415 -- 0.4 s, which the command line need not pay

    with (
        pa.CompressedOutputStream(file, "zstd") as compressed,
        io.BufferedWriter(_Raw(compressed), _BLOCK) as buffered,
    ):
        yield buffered


def decompressing(file: _Hashing) -> Iterator[bytes]:
    """Yield what was compressed, in parts.

    Raises:
        DamagedError: It is not what was compressed.
    """
    import pyarrow as pa  # noqa: PLC0415

    try:
        with pa.CompressedInputStream(file, "zstd") as stream:
            while part := stream.read(_BLOCK):
                yield part
    except (pa.ArrowException, OSError) as error:
        raise DamagedError(f"What was compressed cannot be read: {error}.") from None


class _Raw(io.RawIOBase):
    """Arrow's stream as Python's buffer wants it; a row at a time would take Arrow long."""

    def __init__(self, stream: Any) -> None:  # noqa: ANN401 -- Arrow has no types
        self._stream = stream

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:  # noqa: ANN401 -- any buffer
        self._stream.write(data)
        return len(data)
