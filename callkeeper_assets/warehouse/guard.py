"""Decides whether a day may be replaced by what the source sent for it.

Compares what the source sends, before any filter: a changed filter may empty a table, a source
that suddenly forgets its calls may not. A pure function; the loader counts.
"""

from dataclasses import dataclass
from datetime import date

from callkeeper_assets.warehouse.records import Guard


@dataclass(frozen=True)
class DayBalance:
    """Calls of one day of a source.

    Attributes:
        had: the source sent at the last load.
        sent: it sends now.
        held: the warehouse holds; fewer than `had` if filters are set.
        vanished: of `held`, those that the source sends no more.
    """

    day: date
    had: int
    sent: int
    held: int
    vanished: int


def find_refusal(source: str, balance: DayBalance, guard: Guard) -> str | None:
    """Return why the day must not be replaced, or nothing."""
    before = max(balance.had, balance.held)
    lost = max(balance.vanished, balance.had - balance.sent)
    if not before or lost <= 0:
        return None
    day = balance.day.isoformat()
    remedy = (
        f"The day is left as it was. If this is right, run "
        f"`callkeeper {guard.command} {source} --from {day} --to {day} --force`."
    )
    if not balance.sent:
        return f"{source}, {day}: the source sends no calls for a day that had {before}. {remedy}"
    if lost >= guard.min_calls and lost > guard.max_lost_share * before:
        return (
            f"{source}, {day}: {lost} of {before} calls are gone from what the source sends "
            f"({lost / before:.0%}; it sends {balance.sent}, allowed to lose are "
            f"{guard.max_lost_share:.0%} or fewer than {guard.min_calls} calls). {remedy}"
        )
    return None
