"""Days, as they come, grouped into those of one transaction."""

import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Final

from callkeeper_assets.raw.days import Day

# Of one transaction: enough that its fixed costs vanish, few enough that two fit into memory.
_BATCH_CALLS: Final = 20_000
_BATCH_DAYS: Final = 31
# Reading a day that is there already takes a fraction of it.
_LONG_SEC: Final = 0.05


def group_days(
    days: Iterable[Day], most_calls: int = _BATCH_CALLS
) -> Iterator[tuple[datetime, list[Day]]]:
    """Group days, as they come, into those of one transaction.

    Where a day was long in coming an empty group comes first: there is time for something else.

    Args:
        days: read lazily, a day ahead of the group that is yielded.
        most_calls: of one group; a day that has more is a group of its own.

    Returns:
        Each group, and when the first of its days was asked for: what is loaded after that may not
        be in them.
    """
    group: list[Day] = []
    calls, since = 0, time.monotonic()
    asked_at = group_asked_at = datetime.now(UTC)
    for day in days:
        if time.monotonic() - since > _LONG_SEC:
            yield asked_at, []
        if group and (calls + len(day) > most_calls or len(group) == _BATCH_DAYS):
            yield group_asked_at, group
            group, calls, group_asked_at = [], 0, asked_at
        group.append(day)
        calls += len(day)
        since, asked_at = time.monotonic(), datetime.now(UTC)
    if group:
        yield group_asked_at, group
