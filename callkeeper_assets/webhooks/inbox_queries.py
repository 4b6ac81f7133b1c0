"""What others ask of the inbox: what is in it, what waits, how long none came; and a replay.

Synchronous, a connection a question; the schema must be there. What a run takes out of the inbox to
process it does not belong here.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Literal

from callkeeper_assets.postgres import connect, read_sql_of

PayloadState = Literal["new", "processed", "hint", "rejected"]

read_sql = read_sql_of("callkeeper_assets.webhooks")


@dataclass(frozen=True)
class InboxEntry:
    """One payload.

    Attributes:
        size_bytes: Of its body.
        repeats: How often it came again.
        reason: Why it was rejected, or why it changed nothing.
    """

    id: int
    source: str
    received_at: datetime
    event: str | None
    call_id: int | None
    format: str
    size_bytes: int
    repeats: int
    state: PayloadState
    reason: str | None


@dataclass(frozen=True)
class InboxCounts:
    """One source's payloads.

    Attributes:
        new: They wait to be processed.
        hints: Of call tracking, which name no call.
        repeats: Payloads that had come before; not in the other counts.
        oldest_new_at: None if none waits.
        newest_at: None if there is none.
    """

    source: str
    new: int
    processed: int
    hints: int
    rejected: int
    repeats: int
    oldest_new_at: datetime | None
    newest_at: datetime | None


@dataclass(frozen=True)
class WaitingPayloads:
    """What waits in the inbox for one source.

    Attributes:
        first_id: the first payload's id.
        oldest: when the first one came.
    """

    source: str
    payloads: int
    first_id: int
    oldest: datetime


@dataclass(frozen=True)
class HintedDay:
    """A day with a hint that came after the day's newest answer was asked for."""

    source: str
    day: date
    hinted_at: datetime


@dataclass(frozen=True)
class Silence:
    """When a source's last webhook came (None: none ever did), and the calls since."""

    last_at: datetime | None
    calls_since: int


def list_waiting(url: str) -> list[WaitingPayloads]:
    """Return what waits in the inbox, by source, in the order of names."""
    with connect(url) as connection:
        rows: list[tuple[Any, ...]] = connection.execute(read_sql("waiting")).fetchall()
    return [WaitingPayloads(*row) for row in rows]


def list_hinted_days(url: str) -> list[HintedDay]:
    """Return the days that hints want read again, by source and day.

    Of the last two days' hints: what is not read again by then, a nightly refresh has read, or
    nothing can.
    """
    with connect(url) as connection:
        rows: list[tuple[Any, ...]] = connection.execute(read_sql("hinted")).fetchall()
    return [HintedDay(*row) for row in rows]


def measure_silence(
    url: str, name: str, look_back: timedelta, since: datetime | None = None
) -> Silence:
    """Return how long no webhook of a source has come, in calls of the last `look_back`.

    Calls before `since` do not count.
    """
    values = {"name": name, "look_back": look_back, "since": since}
    with connect(url) as connection:
        rows: list[tuple[Any, ...]] = connection.execute(read_sql("silence"), values).fetchall()
    return Silence(*rows[0]) if rows else Silence(None, 0)


def list_entries(
    url: str, names: Collection[str], state: PayloadState, most: int
) -> list[InboxEntry]:
    """Return the newest payloads of sources in a state, at most so many."""
    values = {"names": list(names), "state": state, "most": most}
    with connect(url) as connection:
        rows: list[tuple[Any, ...]] = connection.execute(read_sql("list"), values).fetchall()
    return [InboxEntry(*row) for row in rows]


def count_entries(url: str, names: Collection[str]) -> list[InboxCounts]:
    """Return the counts of those of the named sources that the warehouse knows, by name."""
    with connect(url) as connection:
        rows: list[tuple[Any, ...]] = connection.execute(
            read_sql("count"), {"names": list(names)}
        ).fetchall()
    return [InboxCounts(*row) for row in rows]


def replay_rejected(url: str, names: Collection[str]) -> int:
    """Have the rejected payloads of sources processed again; return how many."""
    with connect(url, autocommit=True) as connection:
        return connection.execute(read_sql("replay"), {"names": list(names)}).rowcount
