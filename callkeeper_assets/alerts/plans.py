"""Which causes are told now: a pure decision from what is known, what was found, and the clock.

A cause is told when it begins, at most daily while it lasts, and once when it is over. What comes
and goes is not told each time: how long it has to last before it is told depends on its kind, and
how long it has to be gone grows with how often it has come back within a day.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal

from callkeeper_assets.alerts.findings import Finding, Kind

State = Literal["began", "lasts", "ended"]

REPEATED: Final = timedelta(days=1)
CALM: Final = timedelta(minutes=10)
_LONGEST_CALM: Final = timedelta(days=1)
# What a start of services, a restart of the database or an edit of a file makes for a moment.
_PATIENCE: Final[Mapping[Kind, timedelta]] = {
    # A lost run is run again by Dagster, if not at once.
    "run_failed": timedelta(minutes=2),
    "receiver_spooling": timedelta(minutes=3),
    "source_refused": timedelta(minutes=3),
    "key_missing": timedelta(minutes=3),
    "disk_full": timedelta(minutes=1),
    "connections_low": timedelta(minutes=5),
    "daemon_away": timedelta(minutes=2),
    "database_away": timedelta(minutes=3),
}


@dataclass(frozen=True)
class Cause:
    """A finding that is known, and not over.

    Attributes:
        finding: As it was found last.
        first_seen_at: When it was found first.
        last_seen_at: When it was found last.
        told_at: When it was told last; None if it has not been.
        times: How often one like it has begun to be told within a day.
    """

    id: int
    finding: Finding
    first_seen_at: datetime
    last_seen_at: datetime
    told_at: datetime | None
    times: int


@dataclass(frozen=True)
class Change:
    """What is to be told of a cause; `cause` is None where it is not known yet."""

    state: State
    finding: Finding
    since: datetime
    cause: Cause | None


@dataclass
class Plan:
    """What becomes of causes.

    Attributes:
        changes: To be told.
        seen: Found again, or for the first time (None), and not told now.
        dropped: Over before they were told.
    """

    changes: list[Change] = field(default_factory=list)
    seen: list[tuple[Cause | None, Finding]] = field(default_factory=list)
    dropped: list[Cause] = field(default_factory=list)


def is_patient(kind: Kind) -> timedelta:
    """Return how long a cause has to last before it is told."""
    return _PATIENCE.get(kind, timedelta(0))


def plan_changes(
    known: Sequence[Cause],
    findings: Iterable[Finding],
    now: datetime,
    *,
    looked_at: Collection[Kind],
    machine: str,
) -> Plan:
    """Return what is to be told, and what is only to be noted.

    Args:
        known: All causes that are not over, other machines' as well.
        findings: What is found now.
        now: When.
        looked_at: The kinds that would have been found; other causes stay as they are.
        machine: This one: causes of others are theirs to end.
    """
    plan = Plan()
    left = {_tell_apart(one.finding): one for one in known}
    for finding in findings:
        cause = left.pop(_tell_apart(finding), None)
        if cause is None and finding.is_pending:
            continue
        state = _decide(cause, finding, now)
        if state is None:
            plan.seen.append((cause, finding))
        else:
            since = finding.since or (cause.first_seen_at if cause else now)
            plan.changes.append(Change(state, finding, since, cause))
    for cause in left.values():
        if cause.finding.kind not in looked_at or cause.finding.place not in ("", machine):
            continue
        if cause.told_at is None:
            plan.dropped.append(cause)
        elif now - cause.last_seen_at >= _find_calm(cause):
            plan.changes.append(Change("ended", cause.finding, cause.first_seen_at, cause))
    return plan


def _tell_apart(finding: Finding) -> tuple[str, str, str]:
    return finding.kind, finding.subject, finding.place


def _decide(cause: Cause | None, finding: Finding, now: datetime) -> State | None:
    if cause is None or cause.told_at is None:
        first = now if cause is None else cause.first_seen_at
        is_due = now - first >= is_patient(finding.kind) and not finding.is_pending
        return "began" if is_due else None
    if finding.severity == "error" and cause.finding.severity == "warning":
        return "began"
    return "lasts" if now - cause.told_at >= REPEATED else None


def _find_calm(cause: Cause) -> timedelta:
    doublings = min(max(cause.times - 1, 0), 10)
    return min(CALM * (1 << doublings), _LONGEST_CALM)
