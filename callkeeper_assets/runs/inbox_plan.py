"""Which sources' payloads a run is started for: decided anew at each look into the inbox.

A pure function. The inbox holds the truth; what is remembered between two looks only says how often
a run was started for the same first payload in vain: it is started again later each time, so that
one source that cannot be processed neither keeps the daemon busy nor holds up the others.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import msgspec

from callkeeper_assets.runs.hint_plan import HintAttempt
from callkeeper_assets.webhooks.inbox_queries import Waiting

_FIRST_PAUSE: Final = timedelta(seconds=30)
_LONGEST_PAUSE: Final = timedelta(minutes=15)
# 2 to the power of this is more than the longest pause.
_MOST_DOUBLINGS: Final = 6


class Attempt(msgspec.Struct, frozen=True):
    """The last run for a source: for which first payload, the how many-th for it, and when.

    Attributes:
        oldest: When that payload came: the same one may come again.
    """

    first_id: int
    oldest: datetime
    times: int
    started_at: datetime


class InboxCursor(msgspec.Struct, frozen=True):
    """What is remembered between two looks; a hint, not the truth."""

    attempts: dict[str, Attempt] = {}
    hints: dict[str, HintAttempt] = {}


@dataclass(frozen=True)
class InboxPlan:
    """What is to be done.

    Attributes:
        sources: that a run is started for, by name; none: no run.
        text: what is done and why, for people.
        attempts: to be remembered.
    """

    sources: tuple[str, ...]
    text: str
    attempts: dict[str, Attempt]


def read_cursor(text: str | None) -> InboxCursor:
    """Read a remembered cursor; one of an older form is forgotten."""
    try:
        return msgspec.json.decode(text or "{}", type=InboxCursor)
    except msgspec.MsgspecError:
        return InboxCursor()


def write_cursor(cursor: InboxCursor) -> str:
    """Return the text that `read_cursor` reads."""
    return msgspec.json.encode(cursor).decode()


def plan_inbox_run(
    waiting: Sequence[Waiting],
    *,
    loaded: Collection[str],
    running: str | None,
    cursor: InboxCursor,
    now: datetime,
) -> InboxPlan:
    """Decide whether a run is started, and for which sources.

    Args:
        waiting: By source, in the order of names.
        loaded: Sources that are configured, and take webhooks.
        running: A run that processes payloads now.
        cursor: What the last look remembered.
        now: The current moment.
    """
    if not waiting:
        return InboxPlan((), "Nothing waits in the inbox.", {})
    payloads = sum(one.payloads for one in waiting)
    oldest = _count_seconds(now - min(one.oldest for one in waiting))
    head = f"{_count(payloads, 'payload')} of {_count(len(waiting), 'source')}, the oldest {oldest}"
    if running:
        return InboxPlan((), f"{head}, wait for run {running} to end.", cursor.attempts)
    due, notes = [], []
    attempts: dict[str, Attempt] = {}
    for one in waiting:
        attempt = _find_attempt(one, cursor.attempts)
        if one.source not in loaded:
            notes.append(f"{one.source} is not configured, or takes no webhooks")
        elif attempt and now < (again := attempt.started_at + _pause(attempt.times)):
            attempts[one.source] = attempt
            notes.append(
                f"{one.source} has failed {_count(attempt.times, 'time')}, is tried again at "
                f"{again:%H:%M:%S} UTC"
            )
        else:
            times = attempt.times + 1 if attempt else 1
            attempts[one.source] = Attempt(one.first_id, one.oldest, times, now)
            due.append(one.source)
    what = f"a run starts for {_list_names(due)}" if due else "no run starts"
    text = f"{head}: {'; '.join((what, *notes))}."
    return InboxPlan(tuple(due), text, attempts)


def _find_attempt(one: Waiting, attempts: Mapping[str, Attempt]) -> Attempt | None:
    """Return the last run's attempt at the very payload that is first now: it was in vain."""
    attempt = attempts.get(one.source)
    if attempt is None or (attempt.first_id, attempt.oldest) != (one.first_id, one.oldest):
        return None
    return attempt


def _pause(times: int) -> timedelta:
    return min(_LONGEST_PAUSE, _FIRST_PAUSE * (1 << min(times - 1, _MOST_DOUBLINGS)))


def _list_names(names: Sequence[str]) -> str:
    shown = 5
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _count_seconds(age: timedelta) -> str:
    return f"{max(0, round(age.total_seconds())):,} s old"
