"""Calls that came though they lie outside of the window asked for, and what they tell.

A source that does not heed the bounds, or reads them in another zone, sends such calls, and keeps
others back. One or two are no proof: a call moves while it is asked for, or the source chooses by
the time of ordering. Those are left out by name. More of them are an error: what is missing instead
is not known.
"""

import math
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

from callkeeper_assets.api.calls import KeyedCalls
from callkeeper_assets.api.errors import BadDataError
from callkeeper_assets.api.troubles import Trouble
from callkeeper_assets.api.windows import SAFETY_SEC, Window

# So many may be an accident, and one in a hundred of a large answer: what stands at a seam.
_FEW: Final = 3
_ONE_OF: Final = 100
# Of two windows of a minute none need be cut to the second.
_SLACK_SEC: Final = 60
_HALF_HOUR_SEC: Final = 1_800
_LARGEST_OFFSET_SEC: Final = 14 * 3_600
_NO_TIME: Final = ("0000", " ")
_VENDORS_ZONE: Final = ZoneInfo("Europe/Moscow")
_REMEDY: Final = (
    "Nothing of the day was stored. Ask CallKeeper's support; `callkeeper check` tells when the "
    "source heeds what it is asked for again"
)


class _Times(msgspec.Struct, gc=False):
    date: Any = None
    date_timestamp: Any = None
    order_date: Any = None
    callTime: Any = None  # noqa: N815 - the API's name
    cbOrderDate: Any = None  # noqa: N815


_decode_times = msgspec.json.Decoder(_Times).decode


def find_strays(window: Window, calls: KeyedCalls) -> dict[int, int]:
    """Return id and time of the calls that lie outside of what was asked for.

    The second of safety on either side was asked for, and either bound may be meant to belong.
    """
    low, high = window.start - SAFETY_SEC, window.end + SAFETY_SEC
    return {call_id: epoch for call_id, (epoch, _) in calls.items() if not low <= epoch <= high}


def are_few(strays: Collection[int], calls: Collection[int]) -> bool:
    """Whether so many strays of an answer may be an accident."""
    return len(strays) <= max(_FEW, len(calls) // _ONE_OF)


def minute_around(epoch: int) -> Window:
    """The window in which a call of this time must be found."""
    return Window(epoch - 30, epoch + 30)


def is_of_other_time(raw: msgspec.Raw, window: Window) -> bool:
    """Whether a stray may have been chosen by another time than the call's: it is no proof then.

    By that of ordering, which lies in the window; or its own time is not told, but guessed.
    """
    try:
        times = _decode_times(raw)
    except msgspec.DecodeError:
        return False
    told = (times.callTime, times.date, times.date_timestamp)
    if not any(each and not str(each).startswith(_NO_TIME) for each in told):
        return True
    ordered = (_read_time(times.order_date), _read_time(times.cbOrderDate))
    return any(window.start <= each <= window.end for each in ordered)


def are_elsewhere(found: KeyedCalls, minute: Window, known: Mapping[int, int]) -> bool:
    """Whether the answer to a minute has calls of elsewhere, but for those that are known."""
    return any(
        abs(epoch - minute.start) > 2 * _SLACK_SEC
        for call_id, (epoch, _) in found.items()
        if call_id not in known
    )


def trouble_of_strays(
    window: Window, epochs: Collection[int], strays: Mapping[int, int], zone: ZoneInfo
) -> Trouble:
    """Say that a source does not heed what it is asked for, and how it seems to read it.

    Args:
        window: That was asked for.
        epochs: The times of all calls that came.
        strays: Those of the calls outside of it.
        zone: The source's.
    """
    what = "1 of them lies" if len(strays) == 1 else f"{len(strays)} of them lie"
    came_back = (
        f"HTTP 200 with {len(epochs)} calls of {_text(min(epochs))} to {_text(max(epochs))} UTC; "
        f"{what} outside of what was asked for"
    )
    shift = _describe_shift(window, epochs, zone)
    if shift:
        return Trouble(
            BadDataError,
            f"{came_back}, as if the bounds were read {shift} and not in UTC",
            f"As many hours of each day would be missing. {_REMEDY}",
        )
    remedy = f"The source does not heed the dates that it is asked for. {_REMEDY}"
    return Trouble(BadDataError, came_back, remedy)


def _describe_shift(window: Window, epochs: Collection[int], zone: ZoneInfo) -> str:
    """Say in which zone the bounds seem to have been read; empty if in none."""
    low, high = min(epochs), max(epochs)
    if (low < window.start - SAFETY_SEC) == (high > window.end + SAFETY_SEC):
        return ""
    for each in (zone, _VENDORS_ZONE):
        # Each bound with its own offset: the clock may be changed between them.
        first, last = _offset_sec(window.start, each), _offset_sec(window.end, each)
        if _is_within(low, high, window.start - first, window.end - last):
            return f"in {each.key} (UTC{_offset_text(first)})"
    # So far at the least, by half hours.
    least = max(window.start - low, high - window.end) - SAFETY_SEC
    seconds = math.ceil(least / _HALF_HOUR_SEC) * _HALF_HOUR_SEC
    offset = seconds if low < window.start else -seconds
    is_possible = seconds <= _LARGEST_OFFSET_SEC
    if is_possible and _is_within(low, high, window.start - offset, window.end - offset):
        return f"at UTC{_offset_text(offset)}"
    return ""


def _is_within(low: int, high: int, start: int, end: int) -> bool:
    return start - SAFETY_SEC <= low and high <= end + SAFETY_SEC


def _offset_sec(epoch: int, zone: ZoneInfo) -> int:
    offset = datetime.fromtimestamp(epoch, zone).utcoffset()
    return int(offset.total_seconds()) if offset else 0


def _offset_text(seconds: int) -> str:
    hours, minutes = divmod(abs(seconds) // 60, 60)
    return f"{'-' if seconds < 0 else '+'}{hours:02d}:{minutes:02d}"


def _text(epoch: int) -> str:
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _read_time(value: object) -> float:
    """Read a time as epoch seconds; what cannot be read is later than any window."""
    if not isinstance(value, str):
        return math.inf
    try:
        moment = datetime.fromisoformat(value.strip())
    except ValueError:
        return math.inf
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
