"""Where days of raw calls lie: `<root>/<source>/<year>/<day>.parquet` on any fsspec file system.

A day's file is replaced as a whole: a reader sees the old file or the new one, whatever is killed
when. An answer that the guard refused lies beside the day's file, which stays as it was; so does
the day as it was before it lost more calls than a handful and a fifth.
"""

import os
import re
import uuid
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from callkeeper_assets.database.locks import check_locks
from callkeeper_assets.raw.days import (
    Day,
    DayDetails,
    UnusableRow,
    add_unusable,
    decode_day,
    encode_day,
    list_unusable,
    take_calls,
)
from callkeeper_assets.raw.errors import MissingDayError, StoreError

if TYPE_CHECKING:
    import pyarrow as pa

# A day's file, and what may lie beside it: an answer that was refused, the day that was replaced.
Version = Literal["stored", "refused", "replaced"]
VERSIONS: Final[tuple[Version, ...]] = get_args(Version)
_SUFFIXES: Final[dict[Version, str]] = {
    "stored": "",
    "refused": ".refused",
    "replaced": ".replaced",
}
_DAY_FILE: Final = re.compile(r"(\d{4}-\d\d-\d\d)\.parquet")
_UNFINISHED: Final = re.compile(r"\.\d{4}-\d\d-\d\d\.parquet.*\.[0-9a-f]{32}")
# Beside it: the other versions, and what a kill left of a file that was being written.
_ANY_FILE: Final = re.compile(
    r"\.?(\d{4}-\d\d-\d\d)\.parquet(\.refused|\.replaced)?(\.[0-9a-f]{32})?"
)
_WRITERS: Final = 2


class RawStore:
    """Days of raw calls below one folder or URL.

    Args:
        url: A folder, or an fsspec URL such as `s3://bucket/callkeeper`; credentials and endpoints
            come from the file system's own environment variables.

    Raises:
        StoreError: No file system is known, or installed, for the URL.
    """

    def __init__(self, url: str) -> None:
        import fsspec  # noqa: PLC0415 -- only who touches raw calls needs it

        self.url = url
        try:
            # Listings are not cached: another process may have written since.
            self._files, self._root = fsspec.core.url_to_fs(url, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            raise StoreError(
                f"CALLKEEPER_RAW_URL names a place that cannot be used: {url} ({error}). Use a "
                f"folder, or install the file system's package (s3:// needs the extra: pip install "
                f"'callkeeper-assets[s3]')."
            ) from error
        self._is_local = isinstance(self._files.protocol, tuple) and "file" in self._files.protocol

    def locate(self, source: str, day: date, version: Version = "stored") -> str:
        """Return the path of a day's file, or of what lies beside it."""
        suffix = _SUFFIXES[version]
        return f"{self._root}/{source}/{day.year}/{day.isoformat()}.parquet{suffix}"

    def write(self, calls: "pa.Table", details: DayDetails) -> int:
        """Replace a day, atomically; an answer refused before is cleared away.

        Of a day whose details tell of lost calls the file as it was before is kept beside, until it
        has its calls again: the first one, which has most.

        Args:
            calls: The day's calls, with what could not be used behind them.
            details: How it was fetched.

        Returns:
            The file's size in bytes.
        """
        source, day = details.source, details.day
        path, replaced = self.locate(source, day), self.locate(source, day, "replaced")
        content = encode_day(calls, details)
        if details.lost:
            self._keep(path, replaced)
        self._replace(path, content)
        self._remove(self.locate(source, day, "refused"))
        if not details.lost:
            self._remove(replaced)
        return len(content)

    def rewrite(self, calls: "pa.Table", details: DayDetails, version: Version = "stored") -> None:
        """Replace one version of a day, as `read_stored` gives it; the others stay."""
        path = self.locate(details.source, details.day, version)
        self._replace(path, encode_day(calls, details))

    def refuse(self, calls: "pa.Table", details: DayDetails) -> None:
        """Keep an answer that the guard did not let replace the day, beside the day's file."""
        self.rewrite(calls, details, "refused")

    def read(self, source: str, day: date, version: Version = "stored") -> Day:
        """Read a day with its calls, or what lies beside it.

        Raises:
            MissingDayError: There is no file for it.
            UnreadableDayError: The file is damaged.
            StoreError: The place cannot be reached.
        """
        stored, details = self.read_stored(source, day, version)
        return Day(day, take_calls(stored), details)

    def read_unusable(self, source: str, day: date) -> list[UnusableRow]:
        """Return what came for a day and cannot be used as calls; none where there is no file.

        Raises:
            UnreadableDayError: The file is damaged.
            StoreError: The place cannot be reached.
        """
        path = self.locate(source, day)
        content = self._read(path)
        return [] if content is None else list_unusable(decode_day(content, name=path)[0])

    def read_stored(
        self, source: str, day: date, version: Version = "stored"
    ) -> "tuple[pa.Table, DayDetails]":
        """Read all that is stored of a day, or of what lies beside it.

        For who looks for persons: what could not be used is behind the calls (`raw.days`).

        Raises:
            MissingDayError: There is no file for it.
            UnreadableDayError: The file is damaged.
            StoreError: The place cannot be reached.
        """
        path = self.locate(source, day, version)
        content = self._read(path)
        if content is None:
            raise MissingDayError(source=source, day=day, name=path)
        return decode_day(content, name=path)

    def read_details(
        self, source: str, day: date, version: Version = "stored"
    ) -> DayDetails | None:
        """Return how a day, or what lies beside it, was fetched; None without a file."""
        path = self.locate(source, day, version)
        content = self._read(path)
        return None if content is None else decode_day(content, name=path, columns=[])[1]

    def read_call_ids(self, source: str, day: date) -> set[int]:
        """Return the ids of a day's calls; none where there is no file."""
        found = self.look_up(source, day)
        return found[0] if found else set()

    def look_up(
        self, source: str, day: date, version: Version = "stored"
    ) -> "tuple[set[int], DayDetails] | None":
        """Return the ids of a day's calls and how it was fetched; None where there is no file."""
        path = self.locate(source, day, version)
        content = self._read(path)
        if content is None:
            return None
        calls, details = decode_day(content, name=path, columns=["call_id"])
        return set(take_calls(calls).column("call_id").to_pylist()), details

    def list_days(self, source: str, version: Version = "stored") -> set[date]:
        """Return the days of a source that have a file of this version.

        Raises:
            StoreError: The place cannot be reached.
        """
        names = (path.rpartition("/")[2] for path in self._list(source))
        suffix = _SUFFIXES[version]
        days = (
            _DAY_FILE.fullmatch(name.removesuffix(suffix))
            for name in names
            if name.endswith(suffix)
        )
        return {date.fromisoformat(day[1]) for day in days if day}

    def list_sources(self) -> list[str]:
        """Return the names of the sources that have files, sorted.

        Raises:
            StoreError: The place cannot be reached.
        """
        with self._said(self._root, "listed"):
            if not self._files.exists(self._root):
                return []
            folders = self._files.ls(self._root, detail=True)
        paths = (one["name"] for one in folders if one["type"] == "directory")
        return sorted(path.rstrip("/").rpartition("/")[2] for path in paths)

    def list_unfinished(self, source: str) -> list[str]:
        """Return the files that a killed process left half written; nobody may be writing now.

        Raises:
            StoreError: The place cannot be reached.
        """
        paths = self._list(source)
        return [path for path in paths if _UNFINISHED.fullmatch(path.rpartition("/")[2])]

    def list_files(self) -> list[str]:
        """Return the paths of all files that lie here, whatever they are and whoever put them.

        Raises:
            StoreError: The place cannot be reached.
        """
        return sorted(self._find(self._root))

    def name(self, path: str) -> str:
        """Return the path of a file that was listed here as it is below the store's root."""
        return path.removeprefix(self._root).lstrip("/")

    def read_file(self, path: str) -> bytes:
        """Return the content of a file that was listed here; of one that is gone, nothing.

        Raises:
            StoreError: The place cannot be reached.
        """
        return self._read(path) or b""

    def _list(self, source: str) -> dict[str, int]:
        """Return the paths of a source's files, with their sizes in bytes."""
        return {
            path: details["size"] for path, details in self._find(f"{self._root}/{source}").items()
        }

    def _find(self, folder: str) -> dict[str, dict[str, Any]]:
        """Return what lies below a folder, by path.

        Where a folder is but a prefix of names, a store may list what begins alike as well: `main`
        would have the days of `main_2`, and retention would delete them.
        """
        with self._said(folder, "listed"):
            found: dict[str, dict[str, Any]] = self._files.find(folder, detail=True)
        inside = f"{folder.rstrip('/')}/"
        return {path: one for path, one in found.items() if path.startswith(inside)}

    def measure_old(self, source: str, first_kept: date) -> dict[str, int]:
        """Return the files of a source's days before a day, of all versions, and their bytes.

        Raises:
            StoreError: The place cannot be reached.
        """
        old = {}
        for path, size in self._list(source).items():
            name = _ANY_FILE.fullmatch(path.rpartition("/")[2])
            if name and date.fromisoformat(name[1]) < first_kept:
                old[path] = size
        return old

    def delete(self, path: str) -> None:
        """Delete a file that was listed here; one that is gone already is no error.

        Raises:
            StoreError: The place does not let it be deleted.
        """
        with self._said(path, "deleted"), suppress(FileNotFoundError):
            self._files.rm_file(path)

    def _read(self, path: str) -> bytes | None:
        with self._said(path, "read"):
            try:
                content: bytes = self._files.cat_file(path)
            except FileNotFoundError:
                return None
            return content

    def _keep(self, path: str, beside: str) -> None:
        """Keep a file beside, unless one is there already."""
        with self._said(beside, "read"):
            is_kept = self._files.exists(beside)
        content = None if is_kept else self._read(path)
        if content is not None:
            self._replace(beside, content)

    def _replace(self, path: str, content: bytes) -> None:
        with self._said(path, "written"):
            if self._is_local:
                _replace_local(Path(path), content)
            else:
                # An object store shows an object only when it is complete.
                self._files.pipe_file(path, content)

    def _remove(self, path: str) -> None:
        with self._said(path, "removed"):
            if self._files.exists(path):
                self._files.rm_file(path)

    @contextmanager
    def _said(self, path: str, action: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(
                f"Raw calls could not be {action}: {path} ({error.strerror or error}). Check the "
                f"place that CALLKEEPER_RAW_URL names ({self.url}): its permissions, free space "
                f"and credentials."
            ) from error


def _store_day(store: RawStore, day: Day) -> None:
    check_locks()
    content = add_unusable(day.calls, day.unusable)
    if day.details.refusal:
        store.refuse(content, day.details)
    else:
        store.write(content, day.details)


def store_days(store: RawStore, days: Iterable[Day]) -> Iterator[Day]:
    """Store each day as it comes, and pass it on when it is; each is complete or not there.

    One whose details name a refusal is kept beside the stored day. Days are stored in threads, a
    few ahead of which the next are fetched: compressing and waiting for the disk need not keep the
    source waiting. When fetching fails, the days before are stored.

    Raises:
        StoreError: The store cannot be written.
        LockLostError: A lock that this process relies on has gone.
    """
    with ThreadPoolExecutor(_WRITERS, "raw-calls") as pool:
        under_way: deque[tuple[Day, Future[None]]] = deque()
        for day in days:
            under_way.append((day, pool.submit(_store_day, store, day)))
            if len(under_way) > _WRITERS:
                stored, future = under_way.popleft()
                future.result()
                yield stored
        for stored, future in under_way:
            future.result()
            yield stored


def _replace_local(path: Path, content: bytes) -> None:
    """Write beside, make it durable, rename: the folder's entry changes in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with beside.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
