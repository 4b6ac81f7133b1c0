"""Which days a refresh reads again: the overlap, and older days that are not settled.

A pure function decides; it is asked by the schedule and by the command line alike. Old days lie
apart, and are one run all the same: a run costs more to start than a day costs to read again.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Final

# Days so near to the overlap are read with it, and those between.
_NEAR: Final = 7
# They are listed in a run's tag, which an index of the database holds.
_MOST_OTHERS: Final = 100
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True)
class DayRange:
    """Days `first` to `last`, both included, and `others` outside of them: those of one run."""

    first: date
    last: date
    others: tuple[date, ...] = field(default=(), kw_only=True)

    @property
    def days(self) -> int:
        """How many days it has."""
        return (self.last - self.first).days + 1 + len(self.others)


def plan_refresh(
    *, today: date, overlap_days: int, first_day: date, unsettled: Iterable[date]
) -> list[DayRange]:
    """Return the days to read again, by run: those that lie apart, then the overlap's range.

    Args:
        today: In the source's time zone; always read.
        overlap_days: Days before today that are always read.
        first_day: The source gives nothing before it.
        unsettled: Days that hold calls whose status can still change, or that only webhooks have
            told of, or hinted at; any order.
    """
    overlap = {today - _DAY * back for back in range(overlap_days + 1)}
    days = sorted(day for day in overlap | set(unsettled) if first_day <= day <= today)
    if not days:
        return []
    first = today
    while near := [day for day in days if 0 < (first - day).days <= _NEAR]:
        first = near[0]
    apart = [day for day in days if day < first]
    chunks = (apart[at : at + _MOST_OTHERS] for at in range(0, len(apart), _MOST_OTHERS))
    return [
        *(DayRange(chunk[0], chunk[0], others=tuple(chunk[1:])) for chunk in chunks),
        DayRange(first, today),
    ]


def join_days(days: Iterable[date]) -> list[DayRange]:
    """Return the ranges that hold the days, oldest first: near ones are read in one run."""
    ranges: list[DayRange] = []
    for day in sorted(days):
        if ranges and (day - ranges[-1].last).days <= _NEAR:
            ranges[-1] = DayRange(ranges[-1].first, day)
        else:
            ranges.append(DayRange(day, day))
    return ranges
