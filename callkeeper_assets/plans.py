"""What scheduled runs have to do: which days are read again, which are rebuilt, what is missing.

Pure decisions from what is loaded, the schedule and the clock. A refresh reads its overlap and
older days that can still change; a rebuild takes days that older code read; freshness asks for the
newest day that a refresh should have loaded. Days are local days of the source.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Final

from callkeeper_assets.config.models import find_last_tick, find_next_tick
from callkeeper_assets.config.source import Source
from callkeeper_assets.local_time import day_start, find_day

# Days so near to the overlap are read with it, and those between.
_NEAR: Final = 7
# They are listed in a run's tag, which an index of the database holds.
_MOST_OTHERS: Final = 100
_DAY: Final = timedelta(days=1)

# A range is a run, and a run costs more to start than a few days cost to build again.
_GAP_WORTH_A_RUN: Final = 7

# A refresh takes its time, and is tried again.
GRACE: Final = timedelta(hours=2)
_INSTANT: Final = timedelta(microseconds=1)


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
            sent, or hinted at; any order.
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


@dataclass(frozen=True)
class Freshness:
    """How the newest day stands.

    Attributes:
        newest_day: the newest one loaded.
        due_day: the newest one that a refresh should have loaded.
        missing_since: when the first refresh was due whose day is missing; None if none is.
        is_long: whether the refresh of a day before `due_day` is missing as well.
    """

    newest_day: date
    due_day: date
    missing_since: datetime | None
    is_long: bool


def measure_freshness(
    source: Source, newest_day: date, now: datetime, grace: timedelta = GRACE
) -> Freshness:
    """Return how fresh a source is of which something is loaded.

    Args:
        source: whose refresh is due at `refresh.cron`.
        newest_day: the newest day that is loaded from the API.
        now: must know its zone.
        grace: how long after it is due a refresh may be under way.
    """
    cron, zone = source.refresh.cron, source.time_zone
    due_day = find_day(find_last_tick(cron, now - grace, zone), zone)
    if newest_day >= due_day:
        return Freshness(newest_day, due_day, missing_since=None, is_long=False)
    missing_since = find_next_tick(cron, day_start(newest_day + _DAY, zone), zone)
    before = find_day(find_last_tick(cron, day_start(due_day, zone) - _INSTANT, zone), zone)
    return Freshness(newest_day, due_day, missing_since, is_long=newest_day < before)


def find_gaps(first: date, last: date, loaded: Iterable[DayRange]) -> list[DayRange]:
    """Return the days of a stretch that are in none of the ranges, which are in order."""
    gaps, begin = [], first
    for one in loaded:
        if begin < one.first and begin <= last:
            gaps.append(DayRange(begin, min(last, one.first - _DAY)))
        begin = max(begin, one.last + _DAY)
    if begin <= last:
        gaps.append(DayRange(begin, last))
    return gaps
