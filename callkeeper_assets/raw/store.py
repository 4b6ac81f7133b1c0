"""Raw calls as files: `<root>/<source>/<year>/<day>.parquet`, in a folder or an object store.

A file is one day of one source: each call's JSON as received, with its id and moment, and what was
sent beside calls. A day is replaced as a whole, atomically. `READING` numbers how raw calls are
read into tables: raise it with any change that gives a call other values or another id.
"""

import copy
import os
import re
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Self, TypeVar, get_args

import msgspec

from callkeeper_assets.home import LOGS_FOLDER
from callkeeper_assets.postgres.locks import check_locks
from callkeeper_assets.raw.ids import HASHED_IDS, identify_call

# 1: schemas up to 0006. 2: the unified API's `duration` is the talk; ids of imported calls.
READING: Final = 2
# The reading since which calls have the ids that they have today.
_IDS_SINCE: Final = 2

# One row group a day is read whole; more than this a day is rare, and compresses no better.
_ROWS_IN_GROUP: Final = 20_000
_DETAILS_KEY: Final = b"callkeeper"
# Files without it have the ids of the first reading.
_READING_KEY: Final = b"callkeeper_reading"
CALL_COLUMNS: Final = ("call_id", "called_at", "payload")

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
# Requests to an object store, each of which waits for its answer.
_AT_ONCE: Final = 8
# As many as S3 takes in one request.
_DELETED_AT_ONCE: Final = 1000
_S3: Final = ("s3:", "s3a:")

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class RawError(Exception):
    """A file of raw calls that cannot be used or written."""


class MissingDayError(RawError):
    """A day's raw calls were never fetched, or their file is gone."""

    def __init__(self, *, source: str, day: date, name: str) -> None:
        super().__init__(
            f"Source '{source}': the raw calls of {day} are not there ({name}). Materialize "
            f"{source}/raw_calls for that day first, or run: "
            f"callkeeper load {source} --from {day} --to {day}"
        )


class UnreadableDayError(RawError):
    """A day's file is damaged or is not this product's."""

    def __init__(self, *, name: str, cause: str) -> None:
        super().__init__(
            f"The raw calls in {name} cannot be read ({cause[:200]}). Move the file away and load "
            f"the day again."
        )


class StoreError(RawError):
    """The place of raw calls cannot be read or written."""


if TYPE_CHECKING:
    import pyarrow as pa


class UnusableRow(NamedTuple):
    """A record that is no call, as it is stored.

    Attributes:
        key: The call's id where it can be read, else a negative number that stands for the record.
        payload: Its text.
        reason: Why it cannot be used.
    """

    key: int
    payload: bytes
    reason: str


class LocalTimes(msgspec.Struct, frozen=True, kw_only=True):
    """How a day's calls compare with their clients' clocks, where the source sends these.

    Attributes:
        compared: Calls with a believable offset that were looked at.
        differing: Of these, those whose `callTime` is another time.
        difference_sec: The commonest of their differences: `callTime` less `localDate` − offset.
    """

    compared: int
    differing: int
    difference_sec: int


class DayDetails(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of how a day was fetched; kept in its file.

    Args:
        source: The source's name.
        day: The local day.
        time_zone: IANA name of the zone that bounds the day.
        window_from: Start of the window that was asked for, UTC.
        window_to: Its end, UTC.
        requests: HTTP requests that it took.
        fetched_at: When the first request for the day was sent, UTC. The answer shows whatever the
            source had until then; what came later may be missing from it. So the grace of webhooks
            is counted from this moment, wherever it is counted (`Account.webhooks_stay_from`): a
            webhook that came while the day was being fetched is never taken for one that the source
            has left out.
        run_id: The Dagster run, of a re-executed run the first one; empty until a step takes the
            day over.
        refusal: Why the guard did not let the answer replace the day; empty if it did.
        most_calls: The most calls that the day ever had, since it was fetched with `--force`; 0 in
            files of versions that did not count.
        lost: Calls that are gone from the day as it was, which lies beside; 0 if nothing does.
        strays: Ids of the few calls that came, though they lie outside of what was asked for; they
            are not in the file.
        unusable: Reasons why records of the day are no calls, each with the number of records.
        local_times: None where the source sends no clients' times, or an older version stored it.
    """

    source: str
    day: date
    time_zone: str
    window_from: datetime
    window_to: datetime
    requests: int
    fetched_at: datetime
    run_id: str
    refusal: str = ""
    most_calls: int = 0
    lost: int = 0
    strays: tuple[int, ...] = ()
    unusable: tuple[tuple[str, int], ...] = ()
    local_times: LocalTimes | None = None


@dataclass(frozen=True, slots=True)
class Day:
    """One day of a source's calls: what is fetched, stored, read back and loaded.

    The client makes it of answers, the store of a file, the inbox of webhooks' payloads.

    Attributes:
        day: In the source's time zone.
        calls: Columns call_id (int64), called_at (timestamp[us, UTC]) and payload (text: the call's
            JSON); one row a call, each inside the day, by time, then id.
        fetched: How it was fetched; None where the source was not asked.
        unusable: What came beside its calls and is none; a day that is read back has it not.
    """

    day: date
    calls: "pa.Table"
    fetched: DayDetails | None = None
    unusable: Sequence[UnusableRow] = ()

    def __len__(self) -> int:
        return int(self.calls.num_rows)

    @property
    def details(self) -> DayDetails:
        """How it was fetched.

        Raises:
            ValueError: The source was not asked.
        """
        if self.fetched is None:
            raise ValueError(f"{self.day} was not fetched")
        return self.fetched

    @property
    def fetched_at(self) -> datetime | None:
        """As in its details; None where the source was not asked."""
        return self.fetched.fetched_at if self.fetched else None

    @property
    def call_ids(self) -> list[int]:
        """Its calls' ids, in their order."""
        ids: list[int] = self.calls.column("call_id").to_pylist()
        return ids


def build_calls(
    call_ids: Sequence[int], epochs: Sequence[int], payloads: Sequence[bytes]
) -> "pa.Table":
    """Build a day's table from three parallel lists; `epochs` are seconds since 1970, UTC."""
    import pyarrow as pa  # noqa: PLC0415 -- 0.4 s, which the command line need not pay

    moments = pa.array(epochs, pa.timestamp("s", "UTC")).cast(pa.timestamp("us", "UTC"))
    return pa.Table.from_arrays(
        [pa.array(call_ids, pa.int64()), moments, _build_texts(payloads)], names=CALL_COLUMNS
    )


def _build_texts(texts: Sequence[bytes]) -> "pa.Array":
    import pyarrow as pa  # noqa: PLC0415

    # Not looked through for what is not UTF-8: the reader of the JSON does that.
    return pa.array(texts, pa.large_binary()).view(pa.large_string())


def add_unusable(calls: "pa.Table", rows: Sequence[UnusableRow]) -> "pa.Table":
    """Return a day's table with records that are no calls behind its calls."""
    if not rows:
        return calls
    import pyarrow as pa  # noqa: PLC0415

    records = build_calls([one.key for one in rows], [0] * len(rows), [one.payload for one in rows])
    records = records.set_column(1, "called_at", pa.nulls(len(rows), pa.timestamp("us", "UTC")))
    reasons = _build_texts([one.reason.encode() for one in rows])
    return pa.concat_tables(
        [
            calls.append_column("reason", pa.nulls(calls.num_rows, pa.large_string())),
            records.append_column("reason", reasons),
        ]
    )


def take_calls(stored: "pa.Table") -> "pa.Table":
    """Return the calls of a day as it is stored."""
    if "reason" not in stored.column_names:
        return stored
    calls = stored.slice(0, stored.column("reason").null_count)
    return calls.select([name for name in stored.column_names if name in CALL_COLUMNS])


def list_unusable(stored: "pa.Table") -> list[UnusableRow]:
    """Return the records of a day, as it is stored, that are no calls."""
    if "reason" not in stored.column_names:
        return []
    rows = stored.slice(stored.column("reason").null_count)
    keys, payloads, reasons = (
        rows.column(name).to_pylist() for name in ("call_id", "payload", "reason")
    )
    return [
        UnusableRow(key, payload.encode(), reason)
        for key, payload, reason in zip(keys, payloads, reasons, strict=True)
    ]


def replace_payloads(calls: "pa.Table", payloads: Sequence[bytes]) -> "pa.Table":
    """Return a day's table with other JSON texts, parallel to its rows."""
    place = calls.schema.get_field_index("payload")
    return calls.set_column(place, "payload", _build_texts(payloads))


def _has_renewed_ids(calls: "pa.Table") -> bool:
    """Whether some id was not the service's own, and so is made otherwise today."""
    ids = calls["call_id"].to_pylist() if "call_id" in calls.column_names else []
    return any(call_id >= HASHED_IDS for call_id in ids)


def _renew_ids(calls: "pa.Table") -> "pa.Table":
    """Give calls of an older reading the ids that they have today."""
    rows = zip(calls["call_id"].to_pylist(), calls["payload"].to_pylist(), strict=True)
    ids = [
        identify_call(payload.encode()) or call_id if call_id >= HASHED_IDS else call_id
        for call_id, payload in rows
    ]
    renewed = build_calls(ids, [0] * len(ids), [b""] * len(ids))
    return calls.set_column(calls.schema.get_field_index("call_id"), "call_id", renewed["call_id"])


def encode_day(calls: "pa.Table", details: DayDetails) -> bytes:
    """Return the bytes of a day's Parquet file, compressed with zstd."""
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    sink = pa.BufferOutputStream()
    metadata = {_DETAILS_KEY: msgspec.json.encode(details), _READING_KEY: str(READING)}
    pq.write_table(
        calls.replace_schema_metadata(metadata),
        sink,
        compression="zstd",
        row_group_size=_ROWS_IN_GROUP,
        # A payload is unique: a dictionary of payloads only costs time.
        use_dictionary=False,
        write_statistics=["call_id", "called_at"],
    )
    encoded: bytes = sink.getvalue().to_pybytes()
    return encoded


def decode_day(
    content: bytes, *, name: str, columns: Sequence[str] | None = None
) -> "tuple[pa.Table, DayDetails]":
    """Read a day's file back, its calls under the ids that they have today.

    Args:
        content: The file.
        name: Where it lies, for the error's text.
        columns: Only these, and `reason` where the file has it; None reads all.

    Raises:
        UnreadableDayError: It is no Parquet file of this product, or it is damaged.
    """
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        file = pq.ParquetFile(pa.BufferReader(content))
        metadata = file.schema_arrow.metadata
        details = msgspec.json.decode(metadata[_DETAILS_KEY], type=DayDetails)
        if columns and "reason" in file.schema_arrow.names:
            columns = [*columns, "reason"]
        # Three columns of a day: threads make it no faster, and each keeps memory of its own.
        calls = file.read(columns=columns, use_threads=False)
        if int(metadata.get(_READING_KEY, 1)) < _IDS_SINCE and _has_renewed_ids(calls):
            calls = _renew_ids(file.read(use_threads=False)).select(calls.column_names)
    except (pa.ArrowException, OSError, KeyError, TypeError, msgspec.DecodeError) as error:
        raise UnreadableDayError(name=name, cause=str(error)) from error
    return calls, details


def _list_errors(url: str) -> tuple[type[Exception], ...]:
    """Return the errors of a place that cannot be reached: those of S3's client are its own."""
    if not url.startswith(_S3):
        return (OSError,)
    from botocore.exceptions import BotoCoreError  # noqa: PLC0415 -- installed with s3fs

    return (OSError, BotoCoreError)


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
            options = {"use_listings_cache": False}
            if url.startswith(_S3):
                # It would ask for each file's size, to read large ones in parts side by side.
                options["max_concurrency"] = 1
            self._files, self._root = fsspec.core.url_to_fs(url, **options)
        except (ImportError, ValueError) as error:
            raise StoreError(
                f"CALLKEEPER_RAW_URL names a place that cannot be used: {url} ({error}). Use a "
                f"folder, or install the file system's package (s3:// needs the extra: pip install "
                f"'callkeeper-assets[s3]')."
            ) from error
        self._is_local = isinstance(self._files.protocol, tuple) and "file" in self._files.protocol
        self._errors = _list_errors(url)
        # Paths of the files that there are below these folders; nobody else may be writing there.
        self._known: dict[str, set[str]] = {}

    def knowing(self, source: str, days: Iterable[date]) -> Self:
        """Return a store that asks for nothing that is not there, of a source and days' years.

        An object store is asked once, by a list, which files there are, and not for each. For who
        holds the source's key or lock, so that nobody else writes there meanwhile.

        Raises:
            StoreError: The place cannot be reached.
        """
        if self._is_local:
            return self
        made = copy.copy(self)
        folders = {f"{self._root}/{source}/{day.year}" for day in days}
        known = {folder: set(self._find(folder)) for folder in folders}
        made._known = known  # noqa: SLF001 -- its own copy
        return made

    def _is_missing(self, path: str) -> bool:
        folder = path.rpartition("/")[0]
        return folder in self._known and path not in self._known[folder]

    def ahead(
        self, read: Callable[[date], _Result], days: Iterable[date]
    ) -> Iterator[tuple[date, Callable[[], _Result]]]:
        """Yield each day with a function that returns, or raises, what came of reading it.

        Days of an object store are read in threads, a few ahead of the one that is yielded.
        """
        if self._is_local:
            yield from ((day, partial(read, day)) for day in days)
            return
        for day, future in _side_by_side(_AT_ONCE, read, days):
            yield day, future.result

    @property
    def writers(self) -> int:
        """How many days are written at once."""
        return _WRITERS if self._is_local else _AT_ONCE

    def locate(self, source: str, day: date, version: Version = "stored") -> str:
        """Return the path of a day's file, or of what lies beside it."""
        suffix = _SUFFIXES[version]
        return f"{self._root}/{source}/{day.year}/{day.isoformat()}.parquet{suffix}"

    def write(self, calls: "pa.Table", details: DayDetails) -> int:
        """Replace a day, atomically; an answer refused before is cleared away.

        Of a day whose details name lost calls the file as it was before is kept beside, until it
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

    def read_days(
        self,
        source: str,
        days: Iterable[date],
        on_unreadable: Callable[[UnreadableDayError], object] | None = None,
    ) -> Iterator[Day]:
        """Read those of the days that have a file, one by one.

        Args:
            source: Whose days.
            days: In the order in which they are yielded.
            on_unreadable: Is given what is wrong with a damaged file, whose day is left out.

        Raises:
            UnreadableDayError: A file is damaged, and nobody is to be given the error.
            StoreError: The place cannot be reached.
        """
        for _, read in self.ahead(partial(self.read, source), days):
            try:
                stored = read()
            except MissingDayError:
                continue
            except UnreadableDayError as error:
                if on_unreadable is None:
                    raise
                on_unreadable(error)
                continue
            yield stored

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

        For who looks for persons: what could not be used is behind the calls (`add_unusable`).

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
        names = (path.rstrip("/").rpartition("/")[2] for path in paths)
        return sorted(name for name in names if name != LOGS_FOLDER)

    def list_unfinished(self, source: str) -> list[str]:
        """Return the files that a killed process left half written; nobody may be writing now.

        Raises:
            StoreError: The place cannot be reached.
        """
        paths = self._list(source)
        return [path for path in paths if _UNFINISHED.fullmatch(path.rpartition("/")[2])]

    def list_files(self) -> list[str]:
        """Return the paths of all files that lie here, of whatever kind, but runs' output.

        Raises:
            StoreError: The place cannot be reached.
        """
        logs = f"{self._root}/{LOGS_FOLDER}/"
        return sorted(path for path in self._find(self._root) if not path.startswith(logs))

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

    def delete_all(self, paths: Iterable[str]) -> None:
        """Delete files that were listed here, of an S3 store by the thousand.

        Raises:
            StoreError: The place does not let one be deleted.
        """
        listed = list(paths)
        if not hasattr(self._files, "call_s3"):
            for path in listed:
                self.delete(path)
            return
        for first in range(0, len(listed), _DELETED_AT_ONCE):
            some = listed[first : first + _DELETED_AT_ONCE]
            bucket = self._files.split_path(some[0])[0]
            keys = [{"Key": self._files.split_path(path)[1]} for path in some]
            with self._said(some[0], "deleted"):
                # Not by `rm`, which says nothing of those that the store refuses to delete.
                done = self._files.call_s3(
                    "delete_objects", Bucket=bucket, Delete={"Objects": keys, "Quiet": True}
                )
                for refused in done.get("Errors", ()):
                    raise PermissionError(0, refused.get("Message") or refused.get("Code"))

    def _read(self, path: str) -> bytes | None:
        if self._is_missing(path):
            return None
        with self._said(path, "read"):
            try:
                content: bytes = self._files.cat_file(path)
            except FileNotFoundError:
                return None
            return content

    def _keep(self, path: str, beside: str) -> None:
        """Keep a file beside, unless one is there already."""
        with self._said(beside, "read"):
            folder = beside.rpartition("/")[0]
            known = self._known.get(folder)
            is_kept = self._files.exists(beside) if known is None else beside in known
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
                self._known.get(path.rpartition("/")[0], set()).add(path)

    def _remove(self, path: str) -> None:
        if not self._is_missing(path):
            self.delete(path)
            self._known.get(path.rpartition("/")[0], set()).discard(path)

    @contextmanager
    def _said(self, path: str, action: str) -> Iterator[None]:
        try:
            yield
        except self._errors as error:
            cause = getattr(error, "strerror", None) or error
            raise StoreError(
                f"Raw calls could not be {action}: {path} ({cause}). Check the "
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
    for day, stored in _side_by_side(store.writers, partial(_store_day, store), days):
        stored.result()
        yield day


def _side_by_side(
    at_once: int, work: Callable[[_Item], _Result], items: Iterable[_Item]
) -> Iterator[tuple[_Item, Future[_Result]]]:
    """Yield each item, in order, with the work on it, which is done in threads, a few ahead."""
    with ThreadPoolExecutor(at_once, "raw-calls") as pool:
        under_way: deque[tuple[_Item, Future[_Result]]] = deque()
        for item in items:
            under_way.append((item, pool.submit(work, item)))
            if len(under_way) > at_once:
                yield under_way.popleft()
        yield from under_way


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
