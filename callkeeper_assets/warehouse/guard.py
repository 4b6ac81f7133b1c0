"""Decides whether a day may be replaced by what the source sent for it.

Compares what the source sends, before any filter: a changed filter may empty a table, a source
that suddenly forgets its calls may not. Counted from the most that the source ever sent of the
day: what shrinks a little each time is refused in the end. A pure function; who asks counts.
"""

from dataclasses import dataclass
from datetime import date
from typing import Final

from callkeeper_assets.warehouse.records import HANDFUL, Guard

# A day that is allowed to lose more than this is kept as it was, beside, and named by a check.
_KEPT_FROM_SHARE: Final = 0.2


@dataclass(frozen=True)
class DayBalance:
    """Calls of one day of a source.

    Attributes:
        had: the source sent at the last load.
        sent: it sends now.
        held: the warehouse holds; fewer than `had` if filters are set.
        vanished: of `held`, those that the source sends no more.
        most: the most that the source sent since somebody last loaded the day with `--force`.
    """

    day: date
    had: int
    sent: int
    held: int
    vanished: int
    most: int = 0

    @property
    def before(self) -> int:
        """How many calls the day had when it had most."""
        return max(self.had, self.held, self.most)

    @property
    def lost(self) -> int:
        """How many of them are gone: by their ids, or by their number."""
        return max(self.vanished, self.before - self.sent)


def is_worth_keeping(balance: DayBalance) -> bool:
    """Whether so many calls are gone that the day as it was is kept beside the new one."""
    return balance.lost > HANDFUL and balance.lost > _KEPT_FROM_SHARE * balance.before


def find_refusal(source: str, balance: DayBalance, guard: Guard) -> str | None:
    """Return why the day must not be replaced, or nothing."""
    before, lost = balance.before, balance.lost
    if not before or lost <= 0:
        return None
    day = balance.day.isoformat()
    remedy = (
        f"The day is left as it was. If this is right, run "
        f"`callkeeper {guard.command} {source} --from {day} --to {day} --force`."
    )
    if not balance.sent:
        return f"{source}, {day}: the source sends no calls for a day that had {before}. {remedy}"
    if lost > guard.handful and lost > guard.max_lost_share * before:
        return (
            f"{source}, {day}: {lost} of {before} calls are gone from what the source sends "
            f"({lost / before:.0%}; it sends {balance.sent}, allowed to lose are "
            f"{guard.max_lost_share:.0%} or {guard.handful} calls). {remedy}"
        )
    return None
