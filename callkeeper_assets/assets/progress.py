"""How far a run is, for listeners in the same process.

Steps report; a command that runs them in its own process listens. Nobody listening costs nothing.
"""

from collections.abc import Callable
from typing import Any, Literal

from callkeeper_assets.reconcile.discrepancies import ComparedDay
from callkeeper_assets.warehouse.records import Retained

Phase = Literal["fetched", "loaded", "compared", "deleted"]
Listener = Callable[[Phase, int, int], None]
DayListener = Callable[[ComparedDay], None]
RetentionListener = Callable[[Retained], None]
Words = Callable[[str], None]
ResultListener = Callable[[dict[str, Any]], None]

_listeners: list[Listener] = []
_day_listeners: list[DayListener] = []
_retention_listeners: list[RetentionListener] = []
_word_listeners: list[Words] = []
_result_listeners: list[ResultListener] = []


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


def listen_to_retention(listener: RetentionListener) -> None:
    """Have what a retention deleted, or would, passed to the listener."""
    _retention_listeners.append(listener)


def report_retained(retained: Retained) -> None:
    """Report what a retention deleted, or would."""
    for listener in _retention_listeners:
        listener(retained)


def listen_to_words(listener: Words) -> None:
    """Have what a step says of what takes long passed to the listener."""
    _word_listeners.append(listener)


def say(text: str) -> None:
    """Say what a step does that takes long."""
    for listener in _word_listeners:
        listener(text)


def listen_to_results(listener: ResultListener) -> None:
    """Have what a step came to, as a JSON document, passed to the listener."""
    _result_listeners.append(listener)


def report_result(document: dict[str, Any]) -> None:
    """Report what a step came to; no personal data are in it."""
    for listener in _result_listeners:
        listener(document)
