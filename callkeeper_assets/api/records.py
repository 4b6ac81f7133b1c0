"""What the client hands out: a day of calls, columnar for speed, and the account's own facts."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime

from callkeeper_assets.api.calls import UnusableRecord


@dataclass(frozen=True, slots=True)
class UserInfo:
    """What the source says of the account; `paid_till` is None where it does not say."""

    paid_till: datetime | None


@dataclass(frozen=True, slots=True)
class RawCall:
    """One call: its id, its own time in UTC, and its JSON text (UTF-8) exactly as received."""

    call_id: int
    called_at: datetime
    payload: bytes


@dataclass(frozen=True, slots=True)
class DayOfCalls:
    """All calls of one calendar day of the source's time zone.

    The three lists are parallel, sorted by (epoch, call id), each call id once. Iterating gives
    `RawCall`s, which is slower: for what looks at single calls.

    Attributes:
        day: The day, in the source's time zone.
        call_ids: The calls' ids at the source.
        epochs: The calls' times, whole seconds since 1970 in UTC.
        payloads: The calls' JSON texts (UTF-8), byte for byte as received, or as a rule wants them.
        window_from: The day's first instant, UTC.
        window_to: The next day's first instant, UTC.
        requests: HTTP requests that the day took, those retried or halved included.
        fetched_at: When the first request was sent, UTC: the calls are at least this new.
        strays: Ids of the few calls that came, lie outside of what was asked for, and are left out.
        unusable: What else came for the day and cannot be used as calls.
    """

    day: date
    call_ids: list[int]
    epochs: list[int]
    payloads: list[bytes]
    window_from: datetime
    window_to: datetime
    requests: int
    fetched_at: datetime
    strays: tuple[int, ...] = ()
    unusable: tuple[UnusableRecord, ...] = ()

    def __len__(self) -> int:
        return len(self.call_ids)

    def __iter__(self) -> Iterator[RawCall]:
        for call_id, epoch, payload in zip(self.call_ids, self.epochs, self.payloads, strict=True):
            yield RawCall(call_id, datetime.fromtimestamp(epoch, UTC), payload)
