"""Which days a refresh reads again: the overlap, and older days that are not settled.

A pure function decides; it is asked by the schedule and by the command line alike.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

# A range is a run, and a run costs more to start than a few days cost to read again.
_GAP_WORTH_A_RUN: Final = 7
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True)
class DayRange:
    """Days `first` to `last`, both included."""

    first: date
    last: date


def plan_refresh(
    *, today: date, overlap_days: int, first_day: date, unsettled: Iterable[date]
) -> list[DayRange]:
    """Return the ranges to read again, oldest first, not overlapping.

    Args:
        today: In the source's time zone; always read.
        overlap_days: Days before today that are always read.
        first_day: The source gives nothing before it.
        unsettled: Days that hold calls whose status can still change, or that only webhooks have
            told of; any order.
    """
    overlap = {today - _DAY * back for back in range(overlap_days + 1)}
    return join_days(day for day in overlap | set(unsettled) if first_day <= day <= today)


def join_days(days: Iterable[date]) -> list[DayRange]:
    """Return the ranges that hold the days, oldest first: near ones are read in one run."""
    ranges: list[DayRange] = []
    for day in sorted(days):
        if ranges and (day - ranges[-1].last).days <= _GAP_WORTH_A_RUN:
            ranges[-1] = DayRange(ranges[-1].first, day)
        else:
            ranges.append(DayRange(day, day))
    return ranges
