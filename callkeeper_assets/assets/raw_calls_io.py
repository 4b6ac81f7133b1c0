"""The IO manager of raw calls: days go to the store one by one and come back one by one.

What passes through it is a stream, never a period: memory holds the days under way only.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Final

import dagster as dg

from callkeeper_assets.database.locks import check_locks
from callkeeper_assets.home import raw_url
from callkeeper_assets.raw.days import DayDetails, UnusableRow, add_unusable
from callkeeper_assets.raw.store import RawStore

if TYPE_CHECKING:
    import pyarrow as pa

_WRITERS: Final = 2


@dataclass(frozen=True)
class DayToStore:
    """A fetched day; one whose details name a refusal is kept beside the stored day.

    Attributes:
        unusable: what came beside its calls and is none.
    """

    calls: "pa.Table"
    details: DayDetails
    unusable: Sequence[UnusableRow] = ()


@dataclass(frozen=True)
class RawCallsStream:
    """Fetched days, in order; they can be passed through once.

    Attributes:
        held: entered while they are stored, until the last one is.
    """

    days: Iterable[DayToStore]
    held: AbstractContextManager[None] = field(default_factory=nullcontext)


@dataclass(frozen=True)
class StoredRawCalls:
    """The stored days of a source; each is read when it is asked for."""

    store: RawStore
    source: str

    def read_day(self, day: date) -> "tuple[pa.Table, DayDetails]":
        """Read a day's calls, and how they were fetched.

        Raises:
            MissingDayError: The day was never fetched.
            UnreadableDayError: The day's file is damaged.
            StoreError: The store cannot be reached.
        """
        return self.store.read(self.source, day)

    def read_refusal(self, day: date, run_id: str) -> str:
        """Say why this run's answer for the day was not stored; empty if it was.

        Raises:
            StoreError: The store cannot be reached.
        """
        details = self.store.read_details(self.source, day, "refused")
        return details.refusal if details and details.run_id == run_id else ""


def _store(store: RawStore, day: DayToStore) -> None:
    check_locks()
    content = add_unusable(day.calls, day.unusable)
    if day.details.refusal:
        store.refuse(content, day.details)
    else:
        store.write(content, day.details)


def store_days(store: RawStore, days: Iterable[DayToStore]) -> Iterator[DayToStore]:
    """Store each day as it comes, and pass it on when it is; each is complete or not there.

    Days are stored in threads, a few ahead of which the next are fetched: compressing and waiting
    for the disk need not keep the source waiting. When fetching fails, the days before are stored.

    Raises:
        StoreError: The store cannot be written.
    """
    with ThreadPoolExecutor(_WRITERS, "raw-calls") as pool:
        under_way: deque[tuple[DayToStore, Future[None]]] = deque()
        for day in days:
            under_way.append((day, pool.submit(_store, store, day)))
            if len(under_way) > _WRITERS:
                stored, future = under_way.popleft()
                future.result()
                yield stored
        for stored, future in under_way:
            future.result()
            yield stored


class RawCallsIOManager(dg.ConfigurableIOManager):
    """Keeps raw calls below `CALLKEEPER_RAW_URL`; the asset key's first part names the source."""

    def handle_output(self, context: dg.OutputContext, obj: RawCallsStream) -> None:
        """Store each day as it comes, whatever happens after it."""
        store = RawStore(raw_url())
        with obj.held:
            for _ in store_days(store, obj.days):
                pass
        context.log.info("Raw calls are below %s.", store.url)

    def load_input(self, context: dg.InputContext) -> StoredRawCalls:
        """Hand out the stored days; a run may be for more of them than its partitions."""
        return StoredRawCalls(store=RawStore(raw_url()), source=context.asset_key.path[0])
