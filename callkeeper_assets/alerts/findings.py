"""What needs a person: decided from facts, by no clock and no connection of its own.

The one list for `callkeeper status`, its `--fail`, and alerts. A finding is a cause, not an event:
however many runs fail of a job, it is one. Which words it is told in is not decided here (`texts`).
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal, get_args

from callkeeper_assets.alerts.facts import DiskSpace, Facts, find_command
from callkeeper_assets.config.errors import MissingSecretError
from callkeeper_assets.config.source import Source
from callkeeper_assets.dagster_ext.observed import FailedJob
from callkeeper_assets.local_time import show_moment
from callkeeper_assets.plans import measure_freshness
from callkeeper_assets.privacy.redaction import excerpt

Severity = Literal["error", "warning"]
Kind = Literal[
    "run_failed",
    "load_failed",
    "check_failed",
    "not_fresh",
    "webhooks_lost",
    "webhooks_waiting",
    "receiver_spooling",
    "key_missing",
    "key_refused",
    "key_expires",
    "source_refused",
    "disk_full",
    "connections_low",
    "daemon_away",
    "database_away",
]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
# Found by whoever cannot reach the database, and so never here.
AWAY: Final[Kind] = "database_away"

# What the checks of these names say is found here by itself.
_OWN_CHECKS: Final = ("newest_day_loaded", "webhooks_held")
# Time enough to pay an invoice.
_NEAR: Final = timedelta(days=14)
_WAITING: Final = timedelta(hours=1)
# Dagster's daemon says every half a minute that it lives; one that is started reads all sources.
_SILENT: Final = timedelta(minutes=5)
_MOST_OF_CONNECTIONS: Final = 0.85
_GB: Final = 1_000_000_000
# Free of a disk, as a share and in bytes: both have to be under, since a tenth of a large disk is
# much, and a gigabyte of a small one is not little.
_LITTLE: Final = (0.10, 20 * _GB)
_NEARLY_NONE: Final = (0.03, 2 * _GB)
_LONGEST_REASON: Final = 240


@dataclass(frozen=True)
class Finding:
    """One cause.

    Attributes:
        kind: What it is.
        subject: Of what: a source, a job, a check, a folder; with `kind` it tells causes apart.
        since: Since when it is so, where that is known.
        values: What its text is filled with; no key and no number is in them.
        place: The machine that it is about; empty if it is about none.
        is_pending: Whether it may pass by itself: not yet told, nor over if it was.
    """

    kind: Kind
    subject: str
    severity: Severity
    since: datetime | None = None
    values: Mapping[str, str | int] = field(default_factory=dict)
    place: str = ""
    is_pending: bool = False


def find_all(facts: Facts) -> list[Finding]:
    """Return what needs a person, errors first."""
    found = [
        *_find_in_configuration(facts),
        *_find_in_runs(facts),
        *_find_in_checks(facts),
        *_find_in_days(facts),
        *_find_in_webhooks(facts),
        *_find_in_keys(facts),
        *_find_on_machine(facts),
    ]
    return sorted(found, key=lambda one: (one.severity, KINDS.index(one.kind), one.subject))


def list_looked_at(facts: Facts) -> Collection[Kind]:
    """Return the kinds that are over if they are not found: without the database only some are."""
    return KINDS if facts.is_complete else _LOCAL


_LOCAL: Final[frozenset[Kind]] = frozenset(
    {"key_missing", "source_refused", "disk_full", "receiver_spooling"}
)


def _find_in_configuration(facts: Facts) -> Iterator[Finding]:
    for broken in facts.refused:
        yield Finding(
            "source_refused",
            broken.name,
            "error",
            values={"problems": _quote("; ".join(broken.problems))},
        )
    for source in facts.sources:
        try:
            source.read_api_key()
        except MissingSecretError as error:
            yield Finding("key_missing", source.name, "error", values={"variable": error.variable})


def _find_in_runs(facts: Facts) -> Iterator[Finding]:
    told: set[str] = set()
    for job in facts.failed_jobs:
        told.update(job.run_ids)
        yield Finding(
            "run_failed",
            job.job,
            "error",
            since=job.failed_at,
            values={
                "job": job.job,
                "sources": job.sources,
                "runs": job.runs,
                "run_id": job.run_ids[0],
                "again": _say_again(job, facts.sources),
                "reason": _quote(job.reason),
            },
            is_pending=job.is_tried_again,
        )
    for load in facts.failed_loads:
        if load.run_id not in told:
            yield Finding(
                "load_failed",
                load.source,
                "error",
                since=load.failed_at,
                values={"day": str(load.day), "reason": _quote(load.error)},
            )


def _say_again(job: FailedJob, sources: Sequence[Source]) -> str:
    """Return the command that does what a job does; the job's name where there is none."""
    command = find_command(job, sources)
    if command == "load" and job.partitions:
        first, last = job.partitions
        return f"callkeeper load {job.sources} --from {first} --to {last}"
    # Without days it would load all of them.
    return job.job if command in {None, "load"} else f"callkeeper {command} {job.sources}"


def _find_source(facts: Facts, asset: tuple[str, ...]) -> Source | None:
    for source in facts.sources:
        if asset[: len(source.folder)] == source.folder or asset in source.keys.values():
            return source
    return None


def _find_in_checks(facts: Facts) -> Iterator[Finding]:
    for check in facts.failing_checks:
        source = _find_source(facts, check.asset)
        if source is None or check.name in _OWN_CHECKS:
            continue
        table = "/".join(check.asset[len(source.folder) :]) or check.asset[-1]
        yield Finding(
            "check_failed",
            f"{source.name}/{table}/{check.name}",
            "error",
            since=check.failed_at,
            values={
                "source": source.name,
                "table": table,
                "check": check.name,
                "days": check.days,
                "last_day": check.last_day or "",
                "reason": _quote(check.description),
            },
        )


def _find_in_days(facts: Facts) -> Iterator[Finding]:
    for source in facts.sources:
        newest = facts.newest_days.get(source.name)
        if newest is None:
            continue
        known = measure_freshness(source, newest, facts.now)
        if known.missing_since is None:
            continue
        yield Finding(
            "not_fresh",
            source.name,
            "error" if known.is_long else "warning",
            since=known.missing_since,
            values={
                "newest": str(known.newest_day),
                "due": str(known.due_day),
                "since": show_moment(known.missing_since),
                "schedule": f"{source.stem}_refresh",
            },
        )


def _find_in_webhooks(facts: Facts) -> Iterator[Finding]:
    for loss in facts.losses:
        yield Finding(
            "webhooks_lost",
            loss.source,
            "error" if loss.lost else "warning",
            since=loss.found_at,
            values={"lost": loss.lost, "refused": loss.refused},
        )
    for waiting in facts.waiting:
        if facts.now - waiting.oldest > _WAITING:
            yield Finding(
                "webhooks_waiting",
                waiting.source,
                "error",
                since=waiting.oldest,
                values={"count": waiting.payloads, "since": show_moment(waiting.oldest)},
            )
    if facts.machine.spooled:
        yield Finding(
            "receiver_spooling",
            facts.machine.spool,
            "error",
            values={"count": facts.machine.spooled},
            place=facts.machine.name,
        )


def _find_in_keys(facts: Facts) -> Iterator[Finding]:
    known = {source.name: source for source in facts.sources}
    for key in facts.keys:
        if key.source not in known:
            continue
        if key.error:
            yield Finding(
                "key_refused",
                key.source,
                "error",
                since=key.checked_at,
                values={"reason": _quote(key.error), "variable": known[key.source].api_key_env},
            )
        elif key.paid_till is not None and key.paid_till - facts.now < _NEAR:
            yield Finding(
                "key_expires",
                key.source,
                "warning" if key.paid_till > facts.now else "error",
                values={"until": show_moment(key.paid_till)},
            )


def _find_on_machine(facts: Facts) -> Iterator[Finding]:
    for disk in facts.machine.disks:
        severity = _rate(disk)
        if severity:
            yield Finding(
                "disk_full",
                disk.folder,
                severity,
                values={
                    "free_mb": disk.free // 1_000_000,
                    "percent": round(100 * disk.free / disk.total),
                },
                place=facts.machine.name,
            )
    if facts.connections and facts.connections.used >= (
        _MOST_OF_CONNECTIONS * facts.connections.most
    ):
        used, most = facts.connections
        yield Finding("connections_low", "database", "error", values={"used": used, "most": most})
    if facts.heartbeat and facts.now - facts.heartbeat > _SILENT:
        yield Finding(
            "daemon_away",
            "daemon",
            "error",
            since=facts.heartbeat,
            values={"since": show_moment(facts.heartbeat)},
        )


def _rate(disk: DiskSpace) -> Severity | None:
    def is_under(share: float, least: int) -> bool:
        return disk.free < share * disk.total and disk.free < least

    if is_under(*_NEARLY_NONE):
        return "error"
    return "warning" if is_under(*_LITTLE) else None


def _quote(text: str) -> str:
    """Return what something else said, without a key or a number in it, and not all too long."""
    return excerpt(text, _LONGEST_REASON)
