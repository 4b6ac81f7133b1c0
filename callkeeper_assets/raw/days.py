"""A day of calls on its way from the source to the tables, and as the bytes of a Parquet file.

One row a call; columns `call_id` (int64), `called_at` (timestamp, UTC) and `payload` (the JSON
text of the call, byte for byte as received), ordered by time, then id. A day with records that
cannot be used has a row for each of them behind the calls, without `called_at`, and a column
`reason`, NULL for calls.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from callkeeper_assets.raw.call_ids import HASHED_IDS, identify_call
from callkeeper_assets.raw.errors import UnreadableDayError
from callkeeper_assets.reading import READING

if TYPE_CHECKING:
    import pyarrow as pa

# One row group a day is read whole; more than this a day is rare, and compresses no better.
_ROWS_IN_GROUP: Final = 20_000
_DETAILS_KEY: Final = b"callkeeper"
# Files without it have the ids of the first reading.
_READING_KEY: Final = b"callkeeper_reading"
_CALL_COLUMNS: Final = ("call_id", "called_at", "payload")


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
    """How a day's calls compare with their clients' clocks, where the source tells these.

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
        local_times: None where the source tells no clients' times, or an older version stored it.
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

    The client makes it of answers, the store of a file, the inbox of what webhooks told of.

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


def build_table(
    call_ids: Sequence[int], epochs: Sequence[int], payloads: Sequence[bytes]
) -> "pa.Table":
    """Build a day's table from three parallel lists; `epochs` are seconds since 1970, UTC."""
    import pyarrow as pa  # noqa: PLC0415 -- 0.4 s, which the command line need not pay

    moments = pa.array(epochs, pa.timestamp("s", "UTC")).cast(pa.timestamp("us", "UTC"))
    return pa.Table.from_arrays(
        [pa.array(call_ids, pa.int64()), moments, _build_texts(payloads)], names=_CALL_COLUMNS
    )


def _build_texts(texts: Sequence[bytes]) -> "pa.Array":
    import pyarrow as pa  # noqa: PLC0415

    # Not looked through for what is not UTF-8: whoever reads the JSON does that.
    return pa.array(texts, pa.large_binary()).view(pa.large_string())


def add_unusable(calls: "pa.Table", rows: Sequence[UnusableRow]) -> "pa.Table":
    """Return a day's table with records that are no calls behind its calls."""
    if not rows:
        return calls
    import pyarrow as pa  # noqa: PLC0415

    records = build_table([one.key for one in rows], [0] * len(rows), [one.payload for one in rows])
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
    return calls.select([name for name in stored.column_names if name in _CALL_COLUMNS])


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
    renewed = build_table(ids, [0] * len(ids), [b""] * len(ids))
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
        if int(metadata.get(_READING_KEY, 1)) < READING and _has_renewed_ids(calls):
            calls = _renew_ids(file.read(use_threads=False)).select(calls.column_names)
    except (pa.ArrowException, OSError, KeyError, TypeError, msgspec.DecodeError) as error:
        raise UnreadableDayError(name=name, cause=str(error)) from error
    return calls, details
