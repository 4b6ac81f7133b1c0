"""Raw calls as files: `<root>/<source>/<year>/<day>.parquet`, in a folder or an object store.

A file is one day of one source: each call's JSON as received, with its id and moment, and what was
sent beside calls. A day is replaced as a whole, atomically. `READING` numbers how raw calls are
read into tables: raise it with any change that gives a call other values or another id.
"""

import copy
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Self, TypeVar, get_args

import msgspec

from callkeeper_assets.home import LOGS_FOLDER
from callkeeper_assets.language import tr
from callkeeper_assets.postgres.locks import check_locks
from callkeeper_assets.raw.ids import HASHED_IDS, identify_call
from callkeeper_assets.raw.place import Place, RawError, side_by_side

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

_Result = TypeVar("_Result")


class MissingDayError(RawError):
    """A day's raw calls were never fetched, or their file is gone."""

    def __init__(self, *, source: str, day: date, name: str) -> None:
        super().__init__(
            tr(
                "Source '{source}': the raw calls of {day} are not there ({name}). Materialize "
                "{source}/raw_calls for that day first, or run: callkeeper load {source} --from "
                "{day} --to {day}",
                source=source,
                day=day,
                name=name,
            )
        )


class UnreadableDayError(RawError):
    """A day's file is damaged or is not this product's."""

    def __init__(self, *, name: str, cause: str) -> None:
        super().__init__(
            tr(
                "The raw calls in {name} cannot be read ({cause}). Move the file away and load "
                "the day again.",
                name=name,
                cause=cause[:200],
            )
        )


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


class RawStore:
    """Days of raw calls below one folder or URL.

    Args:
        url: A folder, or an fsspec URL such as `s3://bucket/callkeeper`; credentials and endpoints
            come from the file system's own environment variables.

    Raises:
        StoreError: No file system is known, or installed, for the URL.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._place = Place(url)

    def knowing(self, source: str, days: Iterable[date]) -> Self:
        """Return a store that asks for nothing that is not there, of a source and days' years.

        An object store is asked once, by a list, which files there are, and not for each. For who
        holds the source's key or lock, so that nobody else writes there meanwhile, or only reads
        what was there before.

        Raises:
            StoreError: The place cannot be reached.
        """
        made = copy.copy(self)
        folders = {f"{self._place.root}/{source}/{day.year}" for day in days}
        made._place = self._place.knowing(folders)  # noqa: SLF001 -- its own copy
        return made

    def ahead(
        self, read: Callable[[date], _Result], days: Iterable[date]
    ) -> Iterator[tuple[date, Callable[[], _Result]]]:
        """Yield each day with a function that returns, or raises, what came of reading it.

        Days of an object store are read in threads, a few ahead of the one that is yielded.
        """
        return self._place.ahead(read, days)

    @property
    def writers(self) -> int:
        """How many days are written at once."""
        return self._place.writers

    def locate(self, source: str, day: date, version: Version = "stored") -> str:
        """Return the path of a day's file, or of what lies beside it."""
        suffix = _SUFFIXES[version]
        return f"{self._place.root}/{source}/{day.year}/{day.isoformat()}.parquet{suffix}"

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
            self._place.keep(path, replaced)
        self._place.replace(path, content)
        self._place.remove(self.locate(source, day, "refused"))
        if not details.lost:
            self._place.remove(replaced)
        return len(content)

    def rewrite(self, calls: "pa.Table", details: DayDetails, version: Version = "stored") -> None:
        """Replace one version of a day, as `read_stored` gives it; the others stay."""
        path = self.locate(details.source, details.day, version)
        self._place.replace(path, encode_day(calls, details))

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
        content = self._place.read(path)
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
        content = self._place.read(path)
        if content is None:
            raise MissingDayError(source=source, day=day, name=path)
        return decode_day(content, name=path)

    def read_details(
        self, source: str, day: date, version: Version = "stored"
    ) -> DayDetails | None:
        """Return how a day, or what lies beside it, was fetched; None without a file."""
        path = self.locate(source, day, version)
        content = self._place.read(path)
        return None if content is None else decode_day(content, name=path, columns=[])[1]

    def look_up(
        self, source: str, day: date, version: Version = "stored"
    ) -> "tuple[set[int], DayDetails] | None":
        """Return the ids of a day's calls and how it was fetched; None where there is no file."""
        path = self.locate(source, day, version)
        content = self._place.read(path)
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
        return [name for name in self._place.list_folders() if name != LOGS_FOLDER]

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
        return sorted(self._list_all())

    def _list_all(self) -> dict[str, dict[str, Any]]:
        logs = f"{self._place.root}/{LOGS_FOLDER}/"
        found = self._place.find(self._place.root)
        return {path: one for path, one in found.items() if not path.startswith(logs)}

    def name(self, path: str) -> str:
        """Return the path of a file that was listed here as it is below the store's root."""
        return path.removeprefix(self._place.root).lstrip("/")

    def list_stamps(self) -> dict[str, str]:
        """Return the paths of all files, each with what changes when the file is replaced.

        Raises:
            StoreError: The place cannot be reached.
        """
        return {path: _build_stamp(one) for path, one in self._list_all().items()}

    def write_file(self, name: str, content: bytes) -> None:
        """Write a file, whole or not at all, by its name as `name` gives it.

        Raises:
            StoreError: The place cannot be written.
        """
        self._place.replace(f"{self._place.root}/{name}", content)

    def read_file(self, path: str) -> bytes:
        """Return the content of a file that was listed here; of one that is gone, nothing.

        Raises:
            StoreError: The place cannot be reached.
        """
        return self._place.read(path) or b""

    def _list(self, source: str) -> dict[str, int]:
        """Return the paths of a source's files, with their sizes in bytes."""
        found = self._place.find(f"{self._place.root}/{source}")
        return {path: details["size"] for path, details in found.items()}

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
        self._place.remove(path)

    def delete_all(self, paths: Iterable[str]) -> None:
        """Delete files that were listed here, of an S3 store by the thousand.

        Raises:
            StoreError: The place does not let one be deleted.
        """
        self._place.remove_all(paths)


def _build_stamp(details: dict[str, Any]) -> str:
    """Return what tells a file from the one that it replaces; empty if the store says nothing."""
    known = ("ETag", "etag", "mtime", "ino", "LastModified", "last_modified", "created")
    found = [f"{details[name]}" for name in known if details.get(name)]
    return f"{details['size']} {' '.join(found)}" if found else ""


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
    for day, stored in side_by_side(store.writers, partial(_store_day, store), days):
        stored.result()
        yield day
