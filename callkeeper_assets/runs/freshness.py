"""Whether the newest day is loaded that should be: what each refresh is for is its own day.

Asked of the days that are loaded, not of when something was: an old day, loaded today, makes no
table fresh. Pure functions; the check and `callkeeper status` ask them.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from callkeeper_assets.config.cron import find_last_tick, find_next_tick
from callkeeper_assets.config.source import Source
from callkeeper_assets.local_time import day_start, find_day

# A refresh takes its time, and is tried again.
GRACE: Final = timedelta(hours=2)
_DAY: Final = timedelta(days=1)
_INSTANT: Final = timedelta(microseconds=1)


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


def judge_freshness(
    source: Source, newest_day: date, now: datetime, grace: timedelta = GRACE
) -> Freshness:
    """Judge a source of which something is loaded.

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
