"""What goes into a load and what comes out of it, as frozen records.

Used by the loader and by whoever calls it; imports nothing heavy.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TYPE_CHECKING, Final, Literal
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    import pyarrow as pa

Origin = Literal["api", "webhook"]

# So few calls may go from a day unnoticed: somebody deletes a test call now and then.
HANDFUL: Final = 5


@dataclass(frozen=True)
class RawDay:
    """All calls of one day of a source, as received.

    Attributes:
        day: in the source's time zone.
        calls: columns call_id (int64), called_at (timestamp[us, UTC]) and payload (string: the
            call's JSON); one row a call, each inside the day.
        webhooks_stay_from: calls that only a webhook told of stay if they are not older than this,
            although they are not among `calls`: the source may show them later. None: none stays.
        fetched_at: when the source answered; None if it was not asked.
    """

    day: date
    calls: "pa.Table"
    webhooks_stay_from: datetime | None = None
    fetched_at: datetime | None = None


@dataclass(frozen=True)
class Account:
    """The source that is loaded; found in general_accounts by its name."""

    name: str
    caption: str
    time_zone: ZoneInfo


@dataclass(frozen=True)
class Deleted:
    """What retention deletes, or would, in one place.

    Attributes:
        rows: of a table; files, or records of a spool.
        bytes: what they take themselves, without indexes and free space.
    """

    rows: int = 0
    bytes: int = 0

    def __add__(self, other: "Deleted") -> "Deleted":
        return Deleted(self.rows + other.rows, self.bytes + other.bytes)


@dataclass(frozen=True)
class Guard:
    """How much of a day may vanish before it takes `force` to replace it.

    A day that had calls and comes back empty is always refused; one that would lose more than
    `max_lost_share` of its calls is, if these are more than `handful`. `command` is the one whose
    `--force` does it all the same.
    """

    max_lost_share: float = 0.3
    handful: int = HANDFUL
    command: str = "load"


@dataclass(frozen=True)
class RowCounts:
    """What a load did to one table: rows."""

    added: int = 0
    updated: int = 0
    deleted: int = 0


@dataclass(frozen=True)
class Collision:
    """A call whose id was made by hashing, and is another call's: it is not in the tables.

    Attributes:
        held_by: the universal id of the call that has it.
    """

    call_id: int
    universal_id: str
    held_by: str


@dataclass(frozen=True)
class LoadedDay:
    """A day that is in the warehouse now.

    Attributes:
        raw_calls: calls the source sent, before filters.
        rows: rows of the day after filters, by table.
        counts: what changed, by table.
        non_final: of raw_calls, those whose status can still change.
        unknown_fields: paths in the calls that the documentation does not know, sorted.
        unusable_values: how many values of a field could not be read and are NULL, by the field.
        unconfirmed: rows beside `rows` that only a webhook told of and that stayed, by table.
        collisions: calls that were left out, for another call has their id.
    """

    day: date
    raw_calls: int
    rows: Mapping[str, int]
    counts: Mapping[str, RowCounts]
    non_final: int
    unknown_fields: tuple[str, ...]
    unconfirmed: Mapping[str, int] = field(default_factory=dict)
    unusable_values: Mapping[str, int] = field(default_factory=dict)
    collisions: tuple[Collision, ...] = ()

    def count_rows(self, table: str) -> int:
        """Return the rows that a table has for the day, whoever told of them."""
        return self.rows[table] + self.unconfirmed.get(table, 0)


@dataclass(frozen=True)
class RefusedDay:
    """A day that was not replaced; `reason` says why and what to do.

    Attributes:
        is_outdated: the tables hold a newer answer than was to be loaded; else the guard refused.
    """

    day: date
    reason: str
    is_outdated: bool = False
