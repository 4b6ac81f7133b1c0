"""What can happen to calls after they were first served, and the exact record of what did.

A change is drawn from a seed, so that two runs of one script change the same calls in the same way.
"""

import datetime as dt
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal

from callkeeper_assets.simulator.calls import Call
from callkeeper_assets.simulator.truth import Scalar, describe_call

ChangeKind = Literal["changed", "added", "removed"]
ChangedField = Literal[
    "duration_sec",
    "duration2_sec",
    "attempt",
    "asr_attempts",
    "playback_tick",
    "tags",
    "record_url",
]


@dataclass(frozen=True)
class Change:
    """One value of one call that is another now, or a call that came or went.

    Attributes:
        day: the call's local day in the account's zone.
        column: the canonical column; None for a call added or removed.
    """

    kind: ChangeKind
    day: dt.date
    call_id: int
    column: str | None = None
    old: Scalar = None
    new: Scalar = None


@dataclass
class DayChanges:
    """All that was done to one day, over what its seed gives."""

    replaced: dict[int, Call] = field(default_factory=dict)
    removed: set[int] = field(default_factory=set)
    added: list[Call] = field(default_factory=list)

    def apply(self, calls: list[Call]) -> list[Call]:
        """The day's calls as they are now, sorted by time."""
        kept = [
            self.replaced.get(call.call_id, call)
            for call in (*calls, *self.added)
            if call.call_id not in self.removed
        ]
        kept.sort(key=lambda call: (call.called_ts, call.call_id))
        return kept


def _other(rng: random.Random, low: int, high: int, old: int | None) -> int:
    value = rng.randint(low, high)
    return value if value != old else value + 1


_DRAWS: Final[dict[ChangedField, Callable[[random.Random, Call], int | str]]] = {
    "duration_sec": lambda rng, call: call.duration_sec + rng.randint(1, 300),
    "duration2_sec": lambda rng, call: call.duration2_sec + rng.randint(1, 300),
    "attempt": lambda rng, call: _other(rng, 1, 9, call.attempt),
    "asr_attempts": lambda rng, call: _other(rng, 0, 5, call.asr_attempts),
    "playback_tick": lambda rng, call: _other(rng, 0, 5, call.playback_tick),
    "tags": lambda rng, call: f"{call.tags or 'проверен'}, {rng.randint(1, 999)}",
    "record_url": lambda rng, call: (
        f"https://records.callkeeper.ru/{call.call_id}/{rng.getrandbits(48):012x}.mp3"
    ),
}
CHANGED_FIELDS: Final[tuple[ChangedField, ...]] = tuple(_DRAWS)


def draw_value(rng: random.Random, call: Call, changed: ChangedField) -> int | str:
    """A value that the call's field does not have yet."""
    return _DRAWS[changed](rng, call)


def list_changes(day: dt.date, old: Call, new: Call) -> list[Change]:
    """Every canonical column in which two states of one call differ."""
    before, after = describe_call(old), describe_call(new)
    return [
        Change("changed", day, old.call_id, column, before[column], after[column])
        for column in before
        if before[column] != after[column]
    ]
