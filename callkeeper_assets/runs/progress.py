"""How far a run is, for whoever watches it in the same process.

Steps report; a command that runs them in its own process listens. Nobody listening costs nothing.
"""

from collections.abc import Callable
from typing import Literal

from callkeeper_assets.warehouse.discrepancies import ComparedDay

Phase = Literal["fetched", "loaded", "compared"]
Listener = Callable[[Phase, int, int], None]
DayListener = Callable[[ComparedDay], None]

_listeners: list[Listener] = []
_day_listeners: list[DayListener] = []


def listen(listener: Listener) -> None:
    """Have each report of this process passed to the listener: phase, days done, days in all."""
    _listeners.append(listener)


def report(phase: Phase, done: int, total: int) -> None:
    """Report that `done` of `total` days have reached a phase."""
    for listener in _listeners:
        listener(phase, done, total)


def listen_to_days(listener: DayListener) -> None:
    """Have each day that is compared passed to the listener, with all that differs in it."""
    _day_listeners.append(listener)


def report_compared(day: ComparedDay) -> None:
    """Report what a comparison found."""
    for listener in _day_listeners:
        listener(day)
