"""What goes into a load and what comes out of it, and what goes wrong in the warehouse."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Final, Literal
from zoneinfo import ZoneInfo

Origin = Literal["api", "webhook"]

# So few calls may go from a day unnoticed: somebody deletes a test call now and then.
HANDFUL: Final = 5


@dataclass(frozen=True)
class Account:
    """The source that is loaded; found in general_accounts by its name.

    Attributes:
        webhook_grace: how long a call known only from a webhook waits for the source to show it;
            None of a source that takes no webhooks.
    """

    name: str
    caption: str
    time_zone: ZoneInfo
    webhook_grace: timedelta | None = None

    def webhooks_stay_from(self, fetched_at: datetime | None) -> datetime | None:
        """Since when calls of webhooks stay that an answer does not show; None: none stays.

        Counted from when the answer was asked for, not from now: it could not have shown what came
        after that.
        """
        if fetched_at is None or self.webhook_grace is None:
            return None
        return fetched_at - self.webhook_grace


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


@dataclass
class RetentionResult:
    """What one retention deleted, or would.

    Attributes:
        first_kept: the first day that stays.
        places: by table or other place; none where nothing is.
        left: dimensions with rows that nothing refers to, but which loads left no gap to delete.
        silent: receivers of other machines in whose spools something may wait.
    """

    first_kept: date
    places: dict[str, Deleted] = field(default_factory=dict)
    left: set[str] = field(default_factory=set)
    silent: list[str] = field(default_factory=list)

    def add_all(self, deleted: Mapping[str, Deleted]) -> None:
        """Add what went of several places."""
        for place, one in deleted.items():
            self.add(place, one)

    def add(self, place: str, deleted: Deleted) -> None:
        """Add what went of a place."""
        if deleted.rows:
            self.places[place] = self.places.get(place, Deleted()) + deleted


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

    @classmethod
    def of_actions(cls, rows: Mapping[str, int]) -> "RowCounts":
        """Build it from rows by action: `add`, `update`, `delete`; one that is missing is 0."""
        return cls(rows.get("add", 0), rows.get("update", 0), rows.get("delete", 0))

    def __add__(self, other: "RowCounts") -> "RowCounts":
        return RowCounts(
            self.added + other.added, self.updated + other.updated, self.deleted + other.deleted
        )


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
    """A day that is in the warehouse now; all but `day` is empty where nothing was written.

    Attributes:
        raw_calls: calls the source sent, before filters.
        rows: rows of the day after filters, by table.
        counts: what changed, by table.
        non_final: of raw_calls, those whose status can still change.
        unknown_fields: paths in the calls that the documentation does not know, sorted.
        unusable_values: how many values of a field could not be read and are NULL, by the field.
        unconfirmed: rows beside `rows` known only from a webhook and that stayed, by table.
        collisions: calls that were left out, for another call has their id.
    """

    day: date
    raw_calls: int = 0
    rows: Mapping[str, int] = field(default_factory=dict)
    counts: Mapping[str, RowCounts] = field(default_factory=dict)
    non_final: int = 0
    unknown_fields: tuple[str, ...] = ()
    unconfirmed: Mapping[str, int] = field(default_factory=dict)
    unusable_values: Mapping[str, int] = field(default_factory=dict)
    collisions: tuple[Collision, ...] = ()

    def count_rows(self, table: str) -> int:
        """Return the rows that a table has for the day, whatever their origin."""
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


class WarehouseError(Exception):
    """The warehouse could not do what was asked."""


class SchemaError(WarehouseError):
    """The database's schema is not this program's: abort, a person has to act."""


class BadDataError(WarehouseError):
    """What was to be loaded breaks the loader's contract: abort, asking again does not help."""


class NotJsonCallError(BadDataError):
    """A call of the raw calls is no JSON."""

    def __init__(self, day: date, call_id: int) -> None:
        super().__init__(
            f"The raw calls of {day} hold one that is not JSON (call {call_id}). Load the day "
            f"again from the source."
        )


class UnavailableError(WarehouseError):
    """The database did not answer, or ended the work: try again later."""


class DuplicateRowError(WarehouseError):
    """A row of this key exists by now: another load made it; look again."""


class FilterError(WarehouseError):
    """A filter names an unknown field, or compares it with something that does not fit."""
