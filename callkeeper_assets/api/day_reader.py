"""Reads a day by windows: halves those that are refused, and judges whether answers can be true.

What was asked for is what comes: calls of elsewhere are an error, or left out by name (see
`strays`); an answer that is large enough to have been cut is held against its halves (see
`answer_sizes`). Whoever gets a day from here gets all of it.
"""

from dataclasses import dataclass, field
from typing import Final, Protocol
from zoneinfo import ZoneInfo

from callkeeper_assets.api.answer_sizes import AnswerSizes, near_cap
from callkeeper_assets.api.bodies import judge_usable
from callkeeper_assets.api.calls import ORDERED_HERE, KeyedCalls
from callkeeper_assets.api.errors import BadDataError
from callkeeper_assets.api.records import UserInfo
from callkeeper_assets.api.session import Errand
from callkeeper_assets.api.strays import (
    are_elsewhere,
    are_few,
    find_strays,
    is_of_other_time,
    minute_around,
    trouble_of_strays,
)
from callkeeper_assets.api.troubles import Trouble
from callkeeper_assets.api.windows import SAFETY_SEC, LongestWindow, Window

_CUT_MINUTE: Final = (
    "The source cuts even a minute of calls without saying so: ask CallKeeper's support"
)


class SourceApi(Protocol):
    """What an API has to offer; all that differs between them is behind it.

    Attributes:
        calls_method: What calls are asked of, for errors; as `account_method`.
        largest_answer: Calls in one answer at most; None where there is no limit.
    """

    calls_method: str
    account_method: str
    largest_answer: int | None

    def ask_for_calls(self, window: Window, errand: Errand) -> KeyedCalls | Trouble:
        """Return a window's calls by id, a second more on either side allowed."""

    def ask_for_account(self, errand: Errand) -> UserInfo | Trouble:
        """Return what the source says of the account."""


class WindowFailedError(Exception):
    """A window could not be read, nor its halves; the client turns it into an error of its own."""

    def __init__(self, window: Window, trouble: Trouble) -> None:
        super().__init__(trouble.came_back)
        self.window = window
        self.trouble = trouble


@dataclass(slots=True)
class ReadDay:
    """What is read of a day.

    Attributes:
        calls: By id, each of which lies in the window that it came for, or a second beside it; with
            what is no call.
        strays: Id and time of calls that came, but lie elsewhere.
    """

    calls: KeyedCalls = field(default_factory=KeyedCalls)
    strays: dict[int, int] = field(default_factory=dict)


class DayReader:
    """Reads the days of one source, and learns how it wants to be asked; for several threads.

    Args:
        api: The source's.
        time_zone: The source's, for what is said of a shift.
        check_from: An answer of so many calls is checked once for having been cut.
    """

    def __init__(self, api: SourceApi, time_zone: ZoneInfo, check_from: int) -> None:
        self.api = api
        self.time_zone = time_zone
        self.longest_window = LongestWindow()
        self.sizes = AnswerSizes(check_from)

    def read(self, whole: Window, errand: Errand) -> ReadDay:
        """Read all calls of a day's window.

        Raises:
            WindowFailedError: Some of it cannot be read, or cannot be believed.
        """
        reading = _Reading(self, errand, whole)
        if whole.seconds:
            reading.day.calls = reading.read(whole)
        trouble = judge_usable(reading.day.calls)
        if trouble is not None:
            raise WindowFailedError(whole, trouble)
        limits = [each for each in (self.api.largest_answer, self.sizes.largest) if each]
        # Twice the window has twice the calls: that it would be refused is known without asking.
        if not reading.was_refused and all(2 * reading.most < limit for limit in limits):
            self.longest_window.went_well()
        return reading.day


class _Reading:
    """One day, while it is read."""

    def __init__(self, reader: DayReader, errand: Errand, whole: Window) -> None:
        self._reader = reader
        self._errand = errand
        self._whole = whole
        self.day = ReadDay()
        self.most = 0
        self.was_refused = False
        # Answers of a check that found a cap: they are not asked for twice.
        self._parts: dict[Window, KeyedCalls] = {}

    def read(self, window: Window) -> KeyedCalls:
        longest = self._reader.longest_window.seconds
        if window.can_be_halved and window.seconds > longest:
            return self._read_all(window.pieces(longest))
        calls = self._ask(window)
        if calls is None:
            return self._read_halves(window)
        return self._make_sure(window, calls)

    def _read_all(self, windows: list[Window]) -> KeyedCalls:
        calls = KeyedCalls()
        for window in windows:
            calls.add(self.read(window))
        return calls

    def _read_halves(self, window: Window) -> KeyedCalls:
        return self._read_all(window.pieces(window.half_sec))

    def _refuse(self, window: Window) -> None:
        self.was_refused = True
        self._reader.longest_window.refused(window)

    def _ask(self, window: Window) -> KeyedCalls | None:
        """Ask for a window; None if it has to be halved."""
        if window in self._parts:
            return self._parts.pop(window)
        answer = self._reader.api.ask_for_calls(window, self._errand)
        if isinstance(answer, Trouble):
            if answer.retries_before_halving is None or not window.can_be_halved:
                raise WindowFailedError(window, answer)
            self._refuse(window)
            return None
        self.most = max(self.most, len(answer))
        answer.set_derived_aside(self._whole.start - SAFETY_SEC, self._whole.end + SAFETY_SEC)
        strays = find_strays(window, answer)
        if strays:
            self._judge_strays(window, answer, strays)
            self.day.strays |= strays
        return answer

    def _judge_strays(self, window: Window, calls: KeyedCalls, strays: dict[int, int]) -> None:
        """Take strays out that may be an accident: few, and the dates are heeded all the same.

        What is of this day stays, whichever of its windows it came with. What the source chose by
        another time may come with no other window: it is set aside.
        """
        is_found = self._finds_farthest(window, calls, strays) if are_few(strays, calls) else None
        if is_found is None:
            epochs = [epoch for epoch, _ in calls.values()]
            trouble = trouble_of_strays(window, epochs, strays, self._reader.time_zone)
            raise WindowFailedError(window, trouble)
        for call_id, epoch in strays.items():
            if not self._whole.start <= epoch < self._whole.end:
                raw = calls.take_out(call_id)
                if not is_found and is_of_other_time(raw, window):
                    calls.set_aside(raw, ORDERED_HERE, call_id)

    def _finds_farthest(
        self, window: Window, calls: KeyedCalls, strays: dict[int, int]
    ) -> bool | None:
        """Whether the source has the farthest stray at its own time; None if it heeds no dates."""

        def distance(call_id: int) -> int:
            return max(window.start - strays[call_id], strays[call_id] - window.end)

        farthest = max(strays, key=distance)
        minute = minute_around(strays[farthest])
        found = self._reader.api.ask_for_calls(minute, self._errand)
        if isinstance(found, Trouble):
            raise WindowFailedError(minute, found)
        epoch, raw = calls[farthest]
        # Where nothing else came, what comes with any window is all that the source ever sends.
        known = strays if len(calls) > len(strays) else {farthest: epoch}
        if are_elsewhere(found, minute, known):
            return None
        if farthest in found:
            return True
        return False if is_of_other_time(raw, window) else None

    def _make_sure(self, window: Window, calls: KeyedCalls) -> KeyedCalls:
        """Return the window's calls, whether or not this answer was cut."""
        sizes = self._reader.sizes
        if sizes.believes(len(calls)):
            return calls
        if not window.can_be_halved:
            if sizes.cap is None or len(calls) < sizes.cap:
                return calls
            came_back = f"{len(calls)} calls, where {sizes.cap} are the most that an answer has"
            raise WindowFailedError(window, Trouble(BadDataError, came_back, _CUT_MINUTE))
        with sizes.checking:
            # Who waited here may know by now.
            if sizes.believes(len(calls)):
                return calls
            if sizes.cap is None and self._is_whole(window, calls):
                return calls
        self._refuse(window)
        return self._read_halves(window)

    def _is_whole(self, window: Window, calls: KeyedCalls) -> bool:
        """Hold an answer against its halves, and add what they have; say what came of it."""
        parts = KeyedCalls()
        halves = window.pieces(window.half_sec)
        for half in halves:
            found = self._ask(half)
            if found is None:
                return False
            # A half of the same size proves nothing: it may have been cut to the same calls.
            is_as_large = len(found) >= near_cap(len(calls))
            is_whole = not (is_as_large and half.can_be_halved) or self._is_whole(half, found)
            self._parts[half] = found
            if not is_whole:
                return False
            parts.add(found)
        new = [
            call_id
            for call_id, (epoch, _) in parts.items()
            if call_id not in calls and window.start <= epoch < window.end
        ]
        if new:
            # They may have come meanwhile: then they are in the next answer.
            again = self._ask(window)
            if again is None:
                return False
            if any(call_id not in again for call_id in new):
                self._reader.sizes.was_cut(len(again))
                return False
            calls.add(again)
        calls.add(parts)
        for half in halves:
            del self._parts[half]
        self._reader.sizes.was_whole(len(calls))
        return True
