"""Cron expressions: which ones can ever be due, and when they were.

Dagster checks them too, but only once it is imported (seconds) and lets pass days that no month
has, such as February 30 in a list. Five fields: minute, hour, day of month, month, day of week.
"""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")

# name, least, greatest, names of the values
_FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of the month", 1, 31, {}),
    ("month", 1, 12, {name: number for number, name in enumerate(_MONTHS, 1)}),
    ("day of the week", 0, 7, {name: number for number, name in enumerate(_WEEKDAYS)}),
)

_PART = re.compile(r"(?P<first>\*|\w+)(-(?P<last>\w+))?(/(?P<step>\d+))?")

_SUNDAY = 7
_LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
# February 29 comes once in eight years around a century that has none.
_MOST_DAYS = 9 * 366


def _read_number(text: str, names: dict[str, int]) -> int:
    return names.get(text.lower(), int(text) if text.isascii() and text.isdigit() else -1)


def _read_part(part: str, least: int, greatest: int, names: dict[str, int]) -> set[int] | None:
    match = _PART.fullmatch(part)
    if match is None or (match["first"] == "*" and match["last"]):
        return None
    step = int(match["step"] or 1)
    if match["first"] == "*":
        first, last = least, greatest
    else:
        first = _read_number(match["first"], names)
        last = _read_number(match["last"], names) if match["last"] else first
        # A step needs a range, and a range of one value means something else to Dagster.
        if (match["step"] and not match["last"]) or (match["last"] and first == last):
            return None
    # Dagster warns of a greater step, and its weekdays end at 6 (Sunday is 0 and 7).
    if not least <= first <= last <= greatest or not 1 <= step <= max(1, last - (last == _SUNDAY)):
        return None
    return set(range(first, last + 1, step))


def find_cron_problem(cron: str) -> str | None:
    """Say what is wrong with a cron expression; None if it will be due some day."""
    fields = cron.split()
    if len(fields) != len(_FIELDS):
        return (
            f"'{cron}' has {len(fields)} fields; a cron expression has 5: minute, hour, day of the "
            "month, month, day of the week, for example '0 5 * * *'."
        )
    values: list[set[int]] = []
    for text, (name, least, greatest, names) in zip(fields, _FIELDS, strict=True):
        parts = [_read_part(part, least, greatest, names) for part in text.split(",")]
        if any(part is None for part in parts):
            return (
                f"'{text}', the {name} of '{cron}', is impossible: allowed are * and {least}-"
                f"{greatest}, lists (1,2), ranges (1-5) and steps (*/2, 1-9/2)."
            )
        values.append(set().union(*(part for part in parts if part is not None)))
    days, months = values[2], values[3]
    # With both fields given cron takes either, so a weekday makes any date possible.
    if fields[4] == "*" and not any(min(days) <= _LONGEST[month - 1] for month in months):
        return f"'{cron}' is never due: none of its months has such a day."
    return None


def _list_ticks(cron: str, day: date, zone: ZoneInfo) -> Iterator[datetime]:
    """Yield when a good expression is due on a day, in order, in UTC.

    A time that the clock skips is due as much later as the clock is put forward.
    """
    fields = cron.split()
    values: list[set[int]] = []
    for text, (_, least, greatest, names) in zip(fields, _FIELDS, strict=True):
        parts = (_read_part(part, least, greatest, names) or set() for part in text.split(","))
        values.append(set().union(*parts))
    minutes, hours, days, months, weekdays = values
    on_day = day.day in days
    on_weekday = bool({day.isoweekday(), day.isoweekday() % _SUNDAY} & weekdays)
    # With both given cron takes either.
    is_due = on_day or on_weekday if "*" not in {fields[2], fields[4]} else on_day and on_weekday
    if is_due and day.month in months:
        for hour in sorted(hours):
            for minute in sorted(minutes):
                yield datetime.combine(day, time(hour, minute), zone).astimezone(UTC)


def find_last_tick(cron: str, until: datetime, zone: ZoneInfo) -> datetime:
    """Return when a good expression was due last, up to and including a moment; in UTC."""
    day = until.astimezone(zone).date()
    for back in range(_MOST_DAYS):
        ticks = _list_ticks(cron, day - timedelta(days=back), zone)
        past = [tick for tick in ticks if tick <= until]
        if past:
            return max(past)
    raise ValueError(f"{cron!r} is never due.")


def find_next_tick(cron: str, since: datetime, zone: ZoneInfo) -> datetime:
    """Return when a good expression is due next, from a moment on, itself included; in UTC."""
    day = since.astimezone(zone).date()
    for ahead in range(_MOST_DAYS):
        ticks = _list_ticks(cron, day + timedelta(days=ahead), zone)
        coming = [tick for tick in ticks if tick >= since]
        if coming:
            return min(coming)
    raise ValueError(f"{cron!r} is never due.")
