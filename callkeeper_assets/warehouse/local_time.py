"""Days of a time zone on the time line: where they begin, and the clock's distance from UTC.

Computed by zoneinfo, as the windows of the source are: the database's own table of time zones
could be of another year.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

# Every change of a clock that zoneinfo knows since 1970 falls on a quarter of an hour.
_STEP = timedelta(minutes=15)


@dataclass(frozen=True)
class Segment:
    """A stretch of a day in which the distance from UTC does not change; UTC, end excluded."""

    day: date
    starts_at: datetime
    ends_at: datetime
    offset_minutes: int


def day_start(day: date, zone: ZoneInfo) -> datetime:
    """Return when the day begins, in UTC."""
    return datetime.combine(day, time.min, zone).astimezone(UTC)


def _offset_minutes(moment: datetime, zone: ZoneInfo) -> int:
    offset = moment.astimezone(zone).utcoffset()
    assert offset is not None  # noqa: S101 -- a moment in a zone has one
    return int(offset.total_seconds()) // 60


def split_day(day: date, zone: ZoneInfo) -> list[Segment]:
    """Return the day's segments in order: one, or two on a day of 23 or 25 hours."""
    start, end = day_start(day, zone), day_start(day + timedelta(days=1), zone)
    first, last = _offset_minutes(start, zone), _offset_minutes(end - _STEP, zone)
    if first == last:
        return [Segment(day, start, end, first)]
    change = start
    while _offset_minutes(change, zone) == first:
        change += _STEP
    return [Segment(day, start, change, first), Segment(day, change, end, last)]
