"""Questions about what is loaded, for the scheduler and for `callkeeper status`."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True)
class SourceStatus:
    """What is loaded of one source.

    Attributes:
        calls: rows of callkeeper_calls.
        rows_added: in all tables since the first of the month, as rows_updated, rows_deleted.
    """

    name: str
    first_day: date | None
    last_day: date | None
    days: int
    calls: int
    rows_added: int
    rows_updated: int
    rows_deleted: int


def non_final_days(
    url: str, account_name: str, before: date, since: date | None = None
) -> list[date]:
    """Return the days of [since, before) that hold calls whose status can still change, sorted."""
    raise NotImplementedError


def loaded_days(url: str, account_name: str) -> list[date]:
    """Return the days of a source that are in the warehouse, sorted."""
    raise NotImplementedError


def source_statuses(url: str, names: Collection[str], month: date) -> list[SourceStatus]:
    """Return the status of each source that the warehouse knows, of those named."""
    raise NotImplementedError
