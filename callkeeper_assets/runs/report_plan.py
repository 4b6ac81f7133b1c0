"""Which days are built from stored raw calls, by themselves: of a report, and of the tables.

A report's schedule builds its overlap, and every day that is not as its calls are; tables are
filled again where an older reading of raw calls filled them. Pure functions decide. Only days
whose raw calls are there are planned: a run of its own accord must not fail for a day that was
never loaded.
"""

from collections.abc import Collection, Iterable
from datetime import date, timedelta
from typing import Final

from callkeeper_assets.runs.refresh_plan import DayRange

# A range is a run, and a run costs more to start than a few days cost to build again.
_GAP_WORTH_A_RUN: Final = 7
_DAY: Final = timedelta(days=1)


def plan_report(
    *,
    today: date,
    overlap_days: int,
    first_day: date,
    stale: Iterable[date],
    stored: Collection[date],
) -> list[DayRange]:
    """Return the ranges to build, oldest first, not overlapping.

    Args:
        today: In the source's time zone.
        overlap_days: Days before today that are always built.
        first_day: The report's first partition.
        stale: Days never built, or loaded since; any order.
        stored: Days whose raw calls are there.
    """
    overlap = {today - _DAY * back for back in range(overlap_days + 1)}
    wanted = sorted(
        day for day in (overlap | set(stale)) & set(stored) if first_day <= day <= today
    )
    return _group_days(wanted, stored)


def plan_rebuild(
    *, first_day: date, today: date, outdated: Iterable[date], stored: Collection[date]
) -> list[DayRange]:
    """Return the ranges to fill again from their raw calls, oldest first, not overlapping.

    Args:
        first_day: The first that the tables may hold.
        today: In the source's time zone.
        outdated: Days filled by an older reading of raw calls; any order.
        stored: Days whose raw calls are there.
    """
    days = sorted(day for day in set(outdated) & set(stored) if first_day <= day <= today)
    return _group_days(days, stored)


def _group_days(wanted: Iterable[date], stored: Collection[date]) -> list[DayRange]:
    ranges: list[DayRange] = []
    for day in wanted:
        if ranges and _can_bridge(ranges[-1].last, day, stored):
            ranges[-1] = DayRange(ranges[-1].first, day)
        else:
            ranges.append(DayRange(day, day))
    return ranges


def _can_bridge(last: date, day: date, stored: Collection[date]) -> bool:
    gap = (day - last).days
    return gap <= _GAP_WORTH_A_RUN and all(last + _DAY * n in stored for n in range(1, gap))
