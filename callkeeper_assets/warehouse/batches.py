"""Days, as they come, grouped into those of one transaction."""

import time
from collections.abc import Iterable, Iterator
from typing import Final

from callkeeper_assets.warehouse.records import RawDay

# Of one transaction: enough that its fixed costs vanish, few enough that two fit into memory.
_BATCH_CALLS: Final = 20_000
_BATCH_DAYS: Final = 31
# Reading a day that is there already takes a fraction of it.
_LONG_SEC: Final = 0.05


def group_days(days: Iterable[RawDay]) -> Iterator[list[RawDay]]:
    """Group days, as they come, into those of one transaction.

    Where a day was long in coming an empty group comes first: there is time for something else.
    """
    batch: list[RawDay] = []
    calls = 0
    since = time.monotonic()
    for day in days:
        if time.monotonic() - since > _LONG_SEC:
            yield []
        if batch and (calls + day.calls.num_rows > _BATCH_CALLS or len(batch) == _BATCH_DAYS):
            yield batch
            batch, calls = [], 0
        batch.append(day)
        calls += day.calls.num_rows
        since = time.monotonic()
    if batch:
        yield batch
