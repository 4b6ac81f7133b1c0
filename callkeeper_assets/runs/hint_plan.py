"""Which days are read again because webhooks of call tracking hint at calls on them.

A pure function. What is still to be read is the inbox's truth: a day whose newest hint is newer
than what was asked for it. What is remembered between two looks only spaces the runs: a source has
one in two minutes at most, later each time in vain; after some it is left to the nightly refresh.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import groupby
from typing import Final

import msgspec

from callkeeper_assets.runs.refresh_plan import DayRange, join_days
from callkeeper_assets.webhooks.inbox_queries import HintedDay

_PAUSE: Final = timedelta(minutes=2)
_LONGEST_PAUSE: Final = timedelta(minutes=30)
_MOST_IN_VAIN: Final = 6


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
    kept = {name: one for name, one in attempts.items() if now < one.started_at + _LONGEST_PAUSE}
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
    times = last.times if _was_in_vain(last, days) else 0
    is_new = any(one.hinted_at > last.hinted_at for one in days)
    if times >= _MOST_IN_VAIN and not is_new:
        return f"{times} runs were in vain, it is left to the nightly refresh"
    again = last.started_at + min(_LONGEST_PAUSE, _PAUSE * (1 << max(0, times - 1)))
    return f"the next run is at {again:%H:%M:%S} UTC" if now < again else ""


def _was_in_vain(last: HintAttempt, days: Sequence[HintedDay]) -> bool:
    return any(
        last.first <= one.day <= last.last and one.hinted_at <= last.hinted_at for one in days
    )


def _plan_run(
    source: str, days: Sequence[HintedDay], last: HintAttempt | None, now: datetime
) -> tuple[HintRun, HintAttempt]:
    # Days far from each other take turns: what is in vain for one does not hold up the others.
    ranges = join_days(one.day for one in days)
    newest = {one: _find_newest(days, one) for one in ranges}
    ranges.sort(key=lambda one: newest[one], reverse=True)
    fresh = [
        one for one in ranges if last is None or (one.first, one.last) != (last.first, last.last)
    ]
    chosen = (fresh or ranges)[0]
    times = last.times + 1 if last and _was_in_vain(last, days) else 1
    attempt = HintAttempt(chosen.first, chosen.last, newest[chosen], times, now)
    key = f"hint {source} {chosen.first} {chosen.last} {attempt.hinted_at.isoformat()} {times}"
    return HintRun(source, chosen, key), attempt


def _find_newest(days: Sequence[HintedDay], within: DayRange) -> datetime:
    return max(one.hinted_at for one in days if within.first <= one.day <= within.last)
