"""Windows of time: the bounds of a local day, what to ask for it, and how to ask for less.

All bounds are whole seconds since 1970, UTC, half open. The source does not say whether its own
bounds are inclusive: a window is asked a second wider on both sides, and its calls are kept by
their own time.
"""

import threading
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from itertools import pairwise
from typing import Final
from zoneinfo import ZoneInfo

from callkeeper_assets.local_time import day_start

SAFETY_SEC: Final = 1
SHORTEST_SEC: Final = 60  # a window of a minute or less is not halved any more


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
    trouble does not leave thousands of tiny requests behind, and a lasting limit costs a refused
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
