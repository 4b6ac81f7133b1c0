"""Which runs the inbox asks for: sources whose payloads wait, days that hints name.

Decided anew at each look. A source whose payloads failed waits longer each time, no longer than a
bound; a hint of call tracking asks for its day once the source has had time to list the call.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import groupby
from typing import Final

import msgspec

from callkeeper_assets.config.errors import list_some, say_count
from callkeeper_assets.plans import DayRange, join_days
from callkeeper_assets.webhooks.inbox_queries import HintedDay, WaitingPayloads

_MOST_NAMED: Final = 5
_PAUSE: Final = timedelta(minutes=2)
_LONGEST_HINT_PAUSE: Final = timedelta(minutes=30)
_MOST_FAILED_RUNS: Final = 6

_FIRST_PAUSE: Final = timedelta(seconds=30)
_LONGEST_PAUSE: Final = timedelta(minutes=15)
# 2 to the power of this is more than the longest pause.
_MOST_DOUBLINGS: Final = 6


class HintAttempt(msgspec.Struct, frozen=True):
    """A source's last run.

    Attributes:
        hinted_at: The newest hint that it was for.
        times: How many runs for days that still wait there were, this one included.
    """

    first: date
    last: date
    hinted_at: datetime
    times: int
    started_at: datetime


@dataclass(frozen=True)
class HintRun:
    """A run of a source's refresh; two with one `key` are the same."""

    source: str
    days: DayRange
    key: str


@dataclass(frozen=True)
class HintPlan:
    """What is to be done: `text` says it for people, empty where there is nothing."""

    runs: tuple[HintRun, ...]
    text: str
    attempts: dict[str, HintAttempt]


def plan_hint_runs(
    hinted: Sequence[HintedDay],
    *,
    takers: Collection[str],
    running: Collection[str],
    attempts: Mapping[str, HintAttempt],
    now: datetime,
) -> HintPlan:
    """Decide for which sources the refresh runs, and for which days.

    Args:
        hinted: By source and day.
        takers: Sources that are configured, and whose API shows what is hinted at.
        running: Sources whose refresh runs, or soon will: what it asks for may settle the hints.
        attempts: What the last look remembered.
        now: The current moment.
    """
    runs: list[HintRun] = []
    notes: list[str] = []
    # Of sources without a hint as well: the next one must not come within two minutes.
    kept = {
        name: one for name, one in attempts.items() if now < one.started_at + _LONGEST_HINT_PAUSE
    }
    for source, group in groupby(hinted, key=lambda one: one.source):
        days = list(group)
        last = attempts.get(source)
        if last is not None:
            kept[source] = last
        reason = _find_obstacle(days, last, is_taker=source in takers, now=now)
        if source in running:
            reason = "its refresh is under way"
        if reason:
            notes.append(f"{source}: {reason}")
            continue
        run, kept[source] = _plan_run(source, days, last, now)
        runs.append(run)
        notes.append(f"{source}: its refresh starts for {run.days.first} to {run.days.last}")
    text = f"Hints of call tracking: {'; '.join(notes)}." if notes else ""
    return HintPlan(tuple(runs), text, kept)


def _find_obstacle(
    days: Sequence[HintedDay], last: HintAttempt | None, *, is_taker: bool, now: datetime
) -> str:
    """Say why no run starts now; empty if one may."""
    if not is_taker:
        return "it is not configured, or its API tells of no such calls"
    if last is None:
        return ""
    times = last.times if _has_failed(last, days) else 0
    is_new = any(one.hinted_at > last.hinted_at for one in days)
    if times >= _MOST_FAILED_RUNS and not is_new:
        return f"{times} runs were in vain, it is left to the nightly refresh"
    again = last.started_at + min(_LONGEST_HINT_PAUSE, _PAUSE * (1 << max(0, times - 1)))
    return f"the next run is at {again:%H:%M:%S} UTC" if now < again else ""


def _has_failed(last: HintAttempt, days: Sequence[HintedDay]) -> bool:
    return any(
        last.first <= one.day <= last.last and one.hinted_at <= last.hinted_at for one in days
    )


def _plan_run(
    source: str, days: Sequence[HintedDay], last: HintAttempt | None, now: datetime
) -> tuple[HintRun, HintAttempt]:
    # Days far from each other alternate: runs that change nothing do not hold up the others.
    ranges = join_days(one.day for one in days)
    newest = {one: _find_newest(days, one) for one in ranges}
    ranges.sort(key=lambda one: newest[one], reverse=True)
    fresh = [
        one for one in ranges if last is None or (one.first, one.last) != (last.first, last.last)
    ]
    chosen = (fresh or ranges)[0]
    times = last.times + 1 if last and _has_failed(last, days) else 1
    attempt = HintAttempt(chosen.first, chosen.last, newest[chosen], times, now)
    key = f"hint {source} {chosen.first} {chosen.last} {attempt.hinted_at.isoformat()} {times}"
    return HintRun(source, chosen, key), attempt


def _find_newest(days: Sequence[HintedDay], within: DayRange) -> datetime:
    return max(one.hinted_at for one in days if within.first <= one.day <= within.last)


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
    waiting: Sequence[WaitingPayloads],
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
    what = f"{say_count(payloads, 'payload')} of {say_count(len(waiting), 'source')}"
    head = f"{what}, the oldest {oldest}"
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
                f"{one.source} has failed {say_count(attempt.times, 'time')}, is tried again at "
                f"{again:%H:%M:%S} UTC"
            )
        else:
            times = attempt.times + 1 if attempt else 1
            attempts[one.source] = Attempt(one.first_id, one.oldest, times, now)
            due.append(one.source)
    what = f"a run starts for {list_some(due, _MOST_NAMED)}" if due else "no run starts"
    text = f"{head}: {'; '.join((what, *notes))}."
    return InboxPlan(tuple(due), text, attempts)


def _find_attempt(one: WaitingPayloads, attempts: Mapping[str, Attempt]) -> Attempt | None:
    """Return the last run's attempt at the very payload that is first now: it changed nothing."""
    attempt = attempts.get(one.source)
    if attempt is None or (attempt.first_id, attempt.oldest) != (one.first_id, one.oldest):
        return None
    return attempt


def _pause(times: int) -> timedelta:
    return min(_LONGEST_PAUSE, _FIRST_PAUSE * (1 << min(times - 1, _MOST_DOUBLINGS)))


def _count_seconds(age: timedelta) -> str:
    return f"{max(0, round(age.total_seconds())):,} s old"
