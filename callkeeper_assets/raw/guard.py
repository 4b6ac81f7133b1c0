"""The guard of a stored day: an answer that lost too many of its calls does not replace it.

A source that suddenly shows a day as empty, or a good part of it as gone, is more often a fault
than the truth; what it would take is a person who says so.
"""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass


@dataclass(frozen=True)
class Guard:
    """How much of a day may vanish.

    A day that had calls and comes back empty is always refused; one that would lose more than
    `max_lost_share` of its calls is, if these are at least `min_calls`.
    """

    max_lost_share: float = 0.3
    min_calls: int = 20

    def refuses(self, before: AbstractSet[int], now: AbstractSet[int]) -> bool:
        """Whether calls `now` may not replace the calls `before`; both are sets of call ids."""
        lost = len(before - now)
        if before and not now:
            return True
        return lost >= self.min_calls and lost > self.max_lost_share * len(before)
