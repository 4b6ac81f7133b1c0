"""Loads days of raw calls into the star schema."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date

from callkeeper_assets.warehouse.filters import Filter
from callkeeper_assets.warehouse.records import (
    Account,
    Guard,
    LoadedDay,
    Origin,
    RawDay,
    RefusedDay,
    RowCounts,
)

__all__ = [
    "Account",
    "Guard",
    "LoadedDay",
    "RawDay",
    "RefusedDay",
    "RowCounts",
    "load_days",
    "log_failure",
]


def load_days(
    url: str,
    account: Account,
    days: Iterable[RawDay],
    *,
    tables: Collection[str],
    filters: Mapping[str, Sequence[Filter]],
    run_id: str,
    origin: Origin = "api",
    force: bool = False,
    guard: Guard = Guard(),
) -> Iterator[LoadedDay | RefusedDay]:
    """Replace days of a source in the warehouse."""
    raise NotImplementedError


def log_failure(
    url: str, account: Account, days: Collection[date], run_id: str, error: str
) -> None:
    """Put a row with the error into callkeeper_loads for each day."""
    raise NotImplementedError
