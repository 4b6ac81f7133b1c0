"""Days of a time zone on the time line: where they begin, and on which one a moment lies.

The one place that knows: what is asked of the source, what is stored and what is deleted are bound
by the same instants. Computed by zoneinfo, from the newest rules at hand (`zone_rules`); a
database's own table of time zones may be of another year, or lack the name, so that no statement
may name a zone: it is given bounds in UTC.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True)
class Segment:
    """A stretch of a day in which the distance from UTC does not change; UTC, end excluded."""

    day: date
    starts_at: datetime
    ends_at: datetime
    offset_minutes: int


def find_change(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """Return the first instant, to the second, at which a clock that was changed shows it.

    Args:
        before: When it was not changed yet, UTC, whole seconds.
        after: When it was.
        zone: The zone.
    """
    offset = before.astimezone(zone).utcoffset()
    while after - before > _SECOND:
        middle = (before + (after - before) / 2).replace(microsecond=0)
        if middle.astimezone(zone).utcoffset() == offset:
            before = middle
        else:
            after = middle
    return after


def day_start(day: date, zone: ZoneInfo) -> datetime:
    """Return when the day begins, in UTC.

    Of two midnights the first; where the clock skips midnight, the very instant of the skip. So
    days never overlap and leave no gap; one that a zone skipped as a whole is empty.
    """
    midnight = datetime.combine(day, time.min, zone)
    start = midnight.astimezone(UTC)
    if start.astimezone(zone).replace(tzinfo=None) == midnight.replace(tzinfo=None):
        return start
    # By the clock as it was before the skip; by the one after it, the skip is still to come.
    return find_change(midnight.replace(fold=1).astimezone(UTC), start, zone)


def find_day(moment: datetime, zone: ZoneInfo) -> date:
    """Return the day on which a moment lies, by where days begin.

    That is the clock's date, but for an hour in which the clock is put back over midnight and
    shows the day before once more.
    """
    shown = moment.astimezone(zone).date()
    return shown + _DAY if moment >= day_start(shown + _DAY, zone) else shown


def list_stretches(days: Iterable[date], zone: ZoneInfo) -> list[tuple[datetime, datetime]]:
    """Return the stretches of time that days cover, in order, end excluded, adjoining joined."""
    stretches: list[tuple[datetime, datetime]] = []
    for day in sorted(set(days)):
        start, end = day_start(day, zone), day_start(day + _DAY, zone)
        if stretches and stretches[-1][1] == start:
            stretches[-1] = (stretches[-1][0], end)
        else:
            stretches.append((start, end))
    return stretches


def _offset_minutes(moment: datetime, zone: ZoneInfo) -> int:
    offset = moment.astimezone(zone).utcoffset()
    assert offset is not None  # noqa: S101 -- a moment in a zone has one
    return int(offset.total_seconds()) // 60


def split_day(day: date, zone: ZoneInfo) -> list[Segment]:
    """Return the day's segments in order: one, or two on a day of 23 or 25 hours.

    A day that the zone skipped is one without length.
    """
    start, end = day_start(day, zone), day_start(day + _DAY, zone)
    first, last = _offset_minutes(start, zone), _offset_minutes(end - _SECOND, zone)
    if first == last or start == end:
        return [Segment(day, start, end, first)]
    # Clocks were changed at 00:01, too: not by the hour.
    change = find_change(start, end - _SECOND, zone)
    return [Segment(day, start, change, first), Segment(day, change, end, last)]
