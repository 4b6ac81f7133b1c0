"""Days and moments of a time zone, and the rules they go by.

A day of a source is a day of its zone: its bounds in UTC come from here, for every statement and
every request, because a server's zone table is not Python's. Of tzdata's rules and the system's,
the newer ones count: for all of a process that is ours, and for our zones alone in another.
"""

import re
import zoneinfo
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from callkeeper_assets.language import tr

_SECOND = timedelta(seconds=1)

# The table that a set brings along: its first line names the version, lines of Z and L the zones.
_TABLE: Final = "tzdata.zi"
_VERSION: Final = re.compile(r"(\d{4})([a-z]+)")
# In the list, but no place's clock: it stands for a zone that nobody has set.
_UNSET: Final = "Factory"
# As zoneinfo found them, before it was set; with PYTHONTZPATH set, what that names.
_SYSTEM_FOLDERS: Final = zoneinfo.TZPATH
_DAY: Final = timedelta(days=1)


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


def show_moment(moment: datetime, *, seconds: bool = False) -> str:
    """Return a moment as this machine's clock shows it, with its zone."""
    return moment.astimezone().strftime(f"%Y-%m-%d %H:%M{':%S' if seconds else ''} %Z")


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


if TYPE_CHECKING:
    from importlib.resources.abc import Traversable


@dataclass(frozen=True)
class Rules:
    """One set of rules that is installed.

    Attributes:
        version: As its publishers count: `2026f`.
        folder: Where it lies; None for the package `tzdata`.
    """

    version: str
    folder: str | None

    def __str__(self) -> str:
        """Return it as an operator would look for it."""
        where = (
            tr("the system's files in {folder}", folder=self.folder)
            if self.folder
            else tr("the package tzdata")
        )
        return f"{self.version}, {where}"

    def open_zone(self, name: str) -> zoneinfo.ZoneInfo | None:
        """Read a zone of this set, whichever counts; None if it lacks the name."""
        try:
            # A name of a source, which is one of the list: no path leads out of the folder.
            with self._base().joinpath(*name.split("/")).open("rb") as file:
                return zoneinfo.ZoneInfo.from_file(file, key=name)
        except (OSError, ValueError):
            return None

    def read_table(self) -> str:
        """Return the table that the set brings along."""
        return self._base().joinpath(_TABLE).read_text("utf-8")

    @property
    def search_path(self) -> tuple[str, ...]:
        """What zoneinfo has to be told to read this set alone."""
        return (self.folder,) if self.folder else ()

    def _base(self) -> "Traversable":
        from importlib.resources import files  # noqa: PLC0415 -- every command imports this module

        return Path(self.folder) if self.folder else files("tzdata").joinpath("zoneinfo")


@dataclass(frozen=True)
class Difference:
    """Where two sets of rules part: from then on, a zone is so far from UTC by each of them."""

    since: datetime
    by_first: timedelta
    by_second: timedelta


def _age(rules: Rules) -> tuple[str, int, str]:
    match = _VERSION.fullmatch(rules.version)
    year, letters = (match[1], match[2]) if match else ("", "")
    return year, len(letters), letters


def _read_version(folder: str) -> str | None:
    """Return the version of the rules in a folder; None where it is unknown."""
    for name in (_TABLE, "+VERSION"):
        try:
            with (Path(folder) / name).open(encoding="utf-8") as file:
                found = _VERSION.search(file.readline())
        except (OSError, ValueError):
            continue
        if found:
            return found[0]
    return None


@cache
def list_rules() -> tuple[Rules, ...]:
    """Return what is installed, the set that counts first.

    Files whose version is unknown do not count: they might be of any year. Of two of one version
    the package's are taken.
    """
    import tzdata  # noqa: PLC0415 -- a package of data; here alone

    found = [Rules(tzdata.IANA_VERSION, None)]
    for folder in _SYSTEM_FOLDERS:
        version = _read_version(folder)
        if version:
            found.append(Rules(version, folder))
    return tuple(sorted(found, key=_age, reverse=True))


def use_newest_rules() -> None:
    """Have zoneinfo read the newest rules alone, in this process.

    For a process that is ours, before it reads a zone: Dagster's days are our days then.
    """
    path = list_rules()[0].search_path
    if path != zoneinfo.TZPATH:
        zoneinfo.reset_tzpath(path)
        zoneinfo.ZoneInfo.clear_cache()


@cache
def _read_zone(name: str) -> zoneinfo.ZoneInfo | None:
    # Kept, as zoneinfo keeps its own: two of one name that were read from files are not equal.
    return list_rules()[0].open_zone(name)


def open_zone(name: str) -> zoneinfo.ZoneInfo:
    """Open a zone by the newest rules, whichever the process goes by.

    Raises:
        zoneinfo.ZoneInfoNotFoundError: There is no such zone.
    """
    if list_rules()[0].search_path == zoneinfo.TZPATH:
        return ZoneInfo(name)
    return _read_zone(name) or ZoneInfo(name)


@cache
def list_zone_names() -> frozenset[str]:
    """Return the names of the IANA list, those of old included.

    Not what lies in a folder: there are `localtime`, which is another zone on each machine, and
    `posix/…`, which the next machine lacks.
    """
    place = {"Z": 1, "L": 2}
    lines = (line.split() for line in list_rules()[0].read_table().splitlines())
    found = {words[place[words[0]]] for words in lines if words and words[0] in place}
    return frozenset(found - {_UNSET})


def _list_changes(
    zone: zoneinfo.ZoneInfo, since: datetime, until: datetime
) -> Iterator[tuple[datetime, timedelta]]:
    """Yield from when on the zone is how far from UTC; the first at `since`."""
    moment, offset = since, since.astimezone(zone).utcoffset() or timedelta()
    yield moment, offset
    while moment < until:
        ahead = moment + _DAY
        after = ahead.astimezone(zone).utcoffset() or timedelta()
        if after != offset:
            yield find_change(moment, ahead, zone), after
        moment, offset = ahead, after


@cache
def find_difference(name: str, other: Rules, since: datetime, until: datetime) -> Difference | None:
    """Return where another set parts from the one that counts, about one zone.

    Args:
        name: The zone's.
        other: The other set; one that lacks the zone differs in nothing.
        since: From when on to look, UTC.
        until: Up to when.
    """
    theirs = other.open_zone(name)
    if theirs is None:
        return None
    ours = open_zone(name)
    changes = [set(_list_changes(zone, since, until)) for zone in (ours, theirs)]
    apart = changes[0] ^ changes[1]
    if not apart:
        return None
    first = min(moment for moment, _ in apart)
    by_first, by_second = (
        first.astimezone(zone).utcoffset() or timedelta() for zone in (ours, theirs)
    )
    return Difference(first, by_first, by_second)
