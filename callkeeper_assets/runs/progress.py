"""How far a run is, for whoever watches it in the same process.

Steps report; a command that runs them in its own process listens. Nobody listening costs nothing.
"""

from collections.abc import Callable
from typing import Literal

Phase = Literal["fetched", "loaded"]
Listener = Callable[[Phase, int, int], None]

_listeners: list[Listener] = []


def listen(listener: Listener) -> None:
    """Have each report of this process passed to the listener: phase, days done, days in all."""
    _listeners.append(listener)


def report(phase: Phase, done: int, total: int) -> None:
    """Report that `done` of `total` days have reached a phase."""
    for listener in _listeners:
        listener(phase, done, total)
