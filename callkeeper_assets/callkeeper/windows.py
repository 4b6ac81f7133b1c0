"""Windows of time: what to ask a source for, and whether an answer is what was asked for.

The bounds of a local day, halves of a window, sizes above which an answer may have been cut, calls
that lie outside of what was asked, and clocks that disagree with `callTime`.
"""

import math
import threading
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from itertools import pairwise
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

from callkeeper_assets.callkeeper.bodies import AnswerProblem
from callkeeper_assets.callkeeper.keys import KeyedCalls, read_local_date
from callkeeper_assets.callkeeper.records import UnusableAnswerError
from callkeeper_assets.local_time import day_start, open_zone
from callkeeper_assets.raw.store import LocalTimes

SAFETY_SEC: Final = 1
SHORTEST_SEC: Final = 60  # a window of a minute or less is not halved any more

# So many may be an accident, and one in a hundred of a large answer: what stands at a seam.
_FEW: Final = 3
_ONE_OF: Final = 100
# Of two windows of a minute none need be cut to the second.
_SLACK_SEC: Final = 60
_HALF_HOUR_SEC: Final = 1_800
_LARGEST_OFFSET_SEC: Final = 14 * 3_600
_NO_TIME: Final = ("0000", " ")
_VENDORS_ZONE: Final = open_zone("Europe/Moscow")
_REMEDY: Final = (
    "Nothing of the day was stored. Ask CallKeeper's support; `callkeeper check` tells when the "
    "source heeds what it is asked for again"
)

# Of a day, spread over it: some 2 µs each.
_MOST_COMPARED: Final = 200
# A call is noted when it begins here and when it is ordered there.
_TOLERANCE_SEC: Final = 90
_ROUNDED_TO_SEC: Final = 60


@dataclass(frozen=True, slots=True)
class Window:
    """The span from `start` up to, not including, `end`; epoch seconds."""

    start: int
    end: int

    @property
    def seconds(self) -> int:
        """The length."""
        return self.end - self.start

    @property
    def half_sec(self) -> int:
        """Half of the length, rounded up."""
        return -(-self.seconds // 2)

    @property
    def can_be_halved(self) -> bool:
        """Whether it is longer than a minute."""
        return self.seconds > SHORTEST_SEC

    def pieces(self, longest_sec: int) -> list["Window"]:
        """Cut into the fewest equal windows, none of them longer than `longest_sec`."""
        count = -(-self.seconds // longest_sec)
        cuts = [self.start + self.seconds * i // count for i in range(count + 1)]
        return [Window(a, b) for a, b in pairwise(cuts)]

    def asked(self, zone: tzinfo = UTC) -> tuple[str, str]:
        """Return the bounds to ask for, by a zone's clock, as the documentation writes them."""
        return _w3c(self.start - SAFETY_SEC, zone), _w3c(self.end + SAFETY_SEC, zone)


class LongestWindow:
    """The length of window that a source answers, learned while asking; shared by the threads.

    A refused window halves it. A whole day without a refusal doubles it again, so that a passing
    problem does not leave thousands of tiny requests behind, and a lasting limit costs a refused
    request every other day rather than a dozen every day.
    """

    def __init__(self) -> None:
        self._seconds = 2 * 86_400
        self._lock = threading.Lock()

    @property
    def seconds(self) -> int:
        """The longest window to ask for now."""
        return self._seconds

    def refused(self, window: Window) -> None:
        """Ask for no more than half of this from now on."""
        with self._lock:
            self._seconds = max(SHORTEST_SEC, min(self._seconds, window.half_sec))

    def went_well(self) -> None:
        """Try twice as much again: a day passed with no refusal."""
        with self._lock:
            self._seconds = min(2 * 86_400, 2 * self._seconds)


def _w3c(epoch: int, zone: tzinfo) -> str:
    return datetime.fromtimestamp(epoch, zone).strftime("%Y-%m-%dT%H:%M:%S")


def window_of_day(day: date, zone: ZoneInfo) -> Window:
    """Return the calendar day in the zone: 23, 24 or 25 hours as a rule.

    A day that a zone skipped when it crossed the date line (Samoa, 2011-12-30) is empty.
    """
    start, end = (day_start(one, zone) for one in (day, day + timedelta(days=1)))
    return Window(int(start.timestamp()), int(end.timestamp()))


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

    By that of ordering, which lies in the window; or its own time is not sent, but guessed.
    """
    try:
        times = _decode_times(raw)
    except msgspec.DecodeError:
        return False
    sent = (times.callTime, times.date, times.date_timestamp)
    if not any(each and not str(each).startswith(_NO_TIME) for each in sent):
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


def problem_of_strays(
    window: Window, epochs: Collection[int], strays: Mapping[int, int], zone: ZoneInfo
) -> AnswerProblem:
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
        return AnswerProblem(
            UnusableAnswerError,
            f"{came_back}, as if the bounds were read {shift} and not in UTC",
            f"As many hours of each day would be missing. {_REMEDY}",
        )
    remedy = f"The source does not heed the dates that it is asked for. {_REMEDY}"
    return AnswerProblem(UnusableAnswerError, came_back, remedy)


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


def near_cap(cap: int) -> int:
    """The size from which an answer may have been cut to `cap` rows.

    Some rows may be no calls that can be used, or stand twice: nine tenths are not believed either.
    """
    return cap * 9 // 10


class AnswerSizes:
    """What is known of one source's answers; shared by the threads.

    Args:
        check_from: An answer of so many calls is the first that has to be checked.
    """

    def __init__(self, check_from: int) -> None:
        self._believed = check_from - 1
        self._cap: int | None = None
        self.checking = threading.Lock()
        """Held while an answer is checked: days side by side wait for what it finds."""

    @property
    def cap(self) -> int | None:
        """Of how many calls the answers were that had been cut; None if none was."""
        return self._cap

    @property
    def largest(self) -> int | None:
        """Of how many calls an answer can be at most; None where no limit is known."""
        return None if self._cap is None else self._believed + 1

    def believes(self, calls: int) -> bool:
        """Whether an answer of so many calls is whole without a check."""
        return calls <= self._believed

    def was_whole(self, calls: int) -> None:
        """Believe answers up to this size from now on."""
        self._believed = max(self._believed, calls)

    def was_cut(self, calls: int) -> None:
        """Believe no answer that comes near this size from now on."""
        self._cap = calls
        self._believed = near_cap(calls) - 1


class _Local(msgspec.Struct, gc=False):
    callTime: Any = None  # noqa: N815 - the API's name
    localDate: Any = None  # noqa: N815
    timezoneOffset: Any = None  # noqa: N815


_decode = msgspec.json.Decoder(_Local).decode


def compare_local_times(epochs: Sequence[int], payloads: Sequence[bytes]) -> LocalTimes | None:
    """Compare calls of the unified API, two parallel lists; None if nothing can be compared."""
    differences = []
    step = max(1, -(-len(payloads) // _MOST_COMPARED))
    for epoch, payload in zip(epochs[::step], payloads[::step], strict=True):
        try:
            call = _decode(payload)
        except (ValueError, RecursionError):
            continue
        local = read_local_date(call.localDate, call.timezoneOffset)
        # Without a callTime the call's time was taken from the very clock.
        if local is not None and call.callTime:
            differences.append(epoch - local)
    if not differences:
        return None
    differing = Counter(
        round(one / _ROUNDED_TO_SEC) * _ROUNDED_TO_SEC
        for one in differences
        if abs(one) > _TOLERANCE_SEC
    )
    [(difference, _)] = differing.most_common(1) or [(0, 0)]
    return LocalTimes(
        compared=len(differences), differing=differing.total(), difference_sec=difference
    )
