"""`date[from]`, `date[to]` and `time_zone` of a request, read as a window of epoch seconds.

All documented forms are read: bare dates, W3C moments, empty for all time; a space in place of the
T as well, because a public client sends `str(datetime)`. What a bare `date[to]` means and whether
it is inclusive are switches; so is a source that does not heed what it is asked for.
"""

import datetime as dt
import re
import zoneinfo
from collections.abc import Mapping
from typing import Final

from callkeeper_assets.simulator.calls import NEVER
from callkeeper_assets.simulator.failures import (
    DATE_NOT_ARRAY,
    TOO_FEW_VALUES,
    WRONG_TYPE,
    RequestFailedError,
    key_not_defined,
)
from callkeeper_assets.simulator.settings import AnswerSettings

_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d")
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(Z|[+-]\d\d:?\d\d)?")
_OFFSET: Final = re.compile(r"(?:UTC|GMT)?([+-])(\d{1,2})(?::?(\d\d))?")
_MOST_OFFSET_HOURS: Final = 14


def parse_zone(text: str) -> dt.tzinfo:
    """An IANA name or `UTC+03:00` (an unescaped plus comes as a space); empty is UTC.

    Raises:
        RequestFailedError: `Wrong data type!`.
    """
    if not text.strip():
        return dt.UTC
    offset = _OFFSET.fullmatch(re.sub(r"^(UTC|GMT) ", r"\1+", text.strip()))
    if offset:
        sign, hours, minutes = offset.groups()
        delta = dt.timedelta(hours=int(hours), minutes=int(minutes or 0))
        if delta > dt.timedelta(hours=_MOST_OFFSET_HOURS):
            raise RequestFailedError(WRONG_TYPE)
        return dt.timezone(-delta if sign == "-" else delta)
    try:
        return zoneinfo.ZoneInfo(text)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise RequestFailedError(WRONG_TYPE) from None


def _parse_moment(text: str, zone: dt.tzinfo, *, at_end_of_day: bool) -> int:
    try:
        if _DATE.fullmatch(text):
            day = dt.date.fromisoformat(text) + dt.timedelta(days=1 if at_end_of_day else 0)
            return int(dt.datetime(day.year, day.month, day.day, tzinfo=zone).timestamp())
        if _MOMENT.fullmatch(text):
            moment = dt.datetime.fromisoformat(text)
            return int((moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp())
    except (ValueError, OverflowError):
        raise RequestFailedError(WRONG_TYPE) from None
    raise RequestFailedError(WRONG_TYPE)


def _parse_end(text: str, zone: dt.tzinfo, answers: AnswerSettings) -> int:
    end = _parse_moment(text, zone, at_end_of_day=answers.bare_date_to == "end")
    return end + 1 if answers.date_to == "inclusive" else end


def misread(start: int, end: int, answers: AnswerSettings) -> tuple[int, int]:
    """The window that a source answers which does not heed one bound, or both."""
    heeds_from = answers.bounds not in ("ignored", "only_to")
    heeds_to = answers.bounds not in ("ignored", "only_from")
    return start if heeds_from else 0, end if heeds_to else NEVER


def swap_day_and_month(text: str) -> str:
    """A date as who reads the day first understands it."""
    return re.sub(r"^(\d{4})-(\d\d)-(\d\d)", r"\1-\3-\2", text)


def parse_window(parameters: Mapping[str, str], answers: AnswerSettings) -> tuple[int, int]:
    """First second of the window and the first one after it; a bound left empty is open.

    Raises:
        RequestFailedError: `date` is missing, not an array, has only one of its values, or is not a
        date.
    """
    start, end = parameters.get("date[from]"), parameters.get("date[to]")
    zone = parse_zone(answers.bounds_zone or parameters.get("time_zone", ""))
    if start is None and end is None:
        if parameters.get("date"):
            raise RequestFailedError(DATE_NOT_ARRAY)
        if "date" in parameters or "date[]" in parameters:
            return 0, NEVER
        raise RequestFailedError(key_not_defined("date"))
    if start is None or end is None:
        raise RequestFailedError(TOO_FEW_VALUES)
    if answers.bounds == "day_first":
        start, end = swap_day_and_month(start.strip()), swap_day_and_month(end.strip())
    first = _parse_moment(start.strip(), zone, at_end_of_day=False) if start.strip() else 0
    last = _parse_end(end.strip(), zone, answers) if end.strip() else NEVER
    return misread(first, last, answers)
