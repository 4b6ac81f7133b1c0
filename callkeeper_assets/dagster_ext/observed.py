"""What Dagster's tables say of runs, checks and its daemon, for who does not import Dagster.

By SQL over tables that Dagster does not promise to keep: a process that only watches takes 60 MB
so, and with `dagster` imported 90 before it opens an instance. Each question is bounded in time, or
by an index. Reads, and changes nothing; without a schema `dagster` there is nothing to tell.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import psycopg

from callkeeper_assets.postgres import read_sql_of

Connection = psycopg.Connection[tuple[Any, ...]]

# A daemon without one of these starts no run.
_DAEMONS: Final = ("SCHEDULER", "SENSOR", "QUEUED_RUN_COORDINATOR")
_HAS_TABLES: Final = "SELECT to_regclass('dagster.runs') IS NOT NULL"
_MOMENT_OF: Final = """
    SELECT id, create_timestamp FROM dagster.asset_check_executions
    WHERE id >= %s ORDER BY id LIMIT 1
"""
_BOUNDS: Final = "SELECT min(id), max(id) FROM dagster.asset_check_executions"
_HEARTBEATS: Final = "SELECT daemon_type, timestamp FROM dagster.daemon_heartbeats"
# Ended long ago, they are too many to be counted each time.
_RUNS: Final = """
    SELECT status, count(*), min(create_timestamp)
    FROM dagster.runs
    WHERE status NOT IN ('SUCCESS', 'FAILURE', 'CANCELED')
        OR end_time > extract(epoch FROM now() - interval '1 day')
    GROUP BY status
"""
_STOPPED: Final = "SELECT instigator_body FROM dagster.instigators WHERE status = 'STOPPED'"
_read_sql = read_sql_of("callkeeper_assets.dagster_ext")


@dataclass(frozen=True)
class FailedJob:
    """A job of which runs failed that no later run has made good.

    Attributes:
        sources: As the runs' tag names them, joined by commas.
        runs: How many failed.
        run_ids: Of all of them, the newest first.
        failed_at: When the first of them had ended.
        last_failed_at: When the last of them had.
        partitions: The first and the last of all; None where a run has none.
        is_tried_again: Whether a later run of it waits or is under way.
        reason: Why the newest failed, as its log says; empty if it says nothing.
    """

    job: str
    sources: str
    runs: int
    run_ids: tuple[str, ...]
    failed_at: datetime
    last_failed_at: datetime
    partitions: tuple[str, str] | None
    is_tried_again: bool
    reason: str


@dataclass(frozen=True)
class FailingCheck:
    """A check of an asset whose newest result is a failure with the severity ERROR.

    Attributes:
        asset: The path of the asset's key.
        days: How many partitions fail; 1 where it has none.
        last_day: The last of them; None where it has none.
        failed_at: When the first of them was found.
        description: What the newest result says.
    """

    asset: tuple[str, ...]
    name: str
    days: int
    last_day: str | None
    failed_at: datetime
    description: str


@dataclass(frozen=True)
class DagsterState:
    """What the tables say.

    Attributes:
        heartbeats: By daemon, when it last said that it lives: every half minute.
        runs: By status, how many are under way, or ended within a day.
        oldest_queued_at: When the run that has waited for longest was made; None if none waits.
    """

    heartbeats: Mapping[str, datetime]
    runs: Mapping[str, int]
    oldest_queued_at: datetime | None


def has_tables(connection: Connection) -> bool:
    """Whether Dagster's tables are there."""
    row = connection.execute(_HAS_TABLES).fetchone()
    return bool(row and row[0])


def read_failed_jobs(connection: Connection, since: datetime) -> list[FailedJob]:
    """Return the jobs of this product with failed runs since a moment, by name."""
    rows = connection.execute(_read_sql("failed_jobs"), {"since": _as_stored(since)}).fetchall()
    return [
        FailedJob(
            job,
            sources,
            len(run_ids),
            tuple(run_ids),
            failed_at,
            last_failed_at,
            (first, last) if first and last else None,
            again,
            _read_reason(event),
        )
        for job, sources, run_ids, failed_at, last_failed_at, first, last, again, event in rows
    ]


def read_failing_checks(connection: Connection, since: datetime) -> list[FailingCheck]:
    """Return the checks that fail, with what was planned since a moment, by asset and name."""
    first = _find_first(connection, _as_stored(since))
    if first is None:
        return []
    rows = connection.execute(_read_sql("failing_checks"), {"first": first}).fetchall()
    return [
        FailingCheck(
            asset=tuple(json.loads(key)),
            name=name,
            days=days,
            last_day=last_day,
            failed_at=failed_at.replace(tzinfo=UTC),
            description=_read_description(event),
        )
        for key, name, days, last_day, failed_at, event in rows
    ]


def read_heartbeats(connection: Connection) -> dict[str, datetime]:
    """Return, by daemon, when it last said that it lives: every half minute."""
    if not has_tables(connection):
        return {}
    found = connection.execute(_HEARTBEATS).fetchall()
    return {name: at.replace(tzinfo=UTC) for name, at in found if at}


def read_stopped(connection: Connection) -> list[str]:
    """Return the names of schedules and sensors that somebody has switched off."""
    if not has_tables(connection):
        return []
    bodies = (json.loads(body) for (body,) in connection.execute(_STOPPED))
    return sorted(str(body["origin"]["job_name"]) for body in bodies)


def read_heartbeat(connection: Connection) -> datetime | None:
    """Return when Dagster's daemon was last seen alive in all it does; None if it never was."""
    heartbeats = read_heartbeats(connection)
    return min((heartbeats[name] for name in _DAEMONS if name in heartbeats), default=None)


def read_dagster_state(connection: Connection) -> DagsterState:
    """Return how the daemon and the runs of a day are; nothing where the tables are not there."""
    if not has_tables(connection):
        return DagsterState({}, {}, None)
    runs = {status: (number, oldest) for status, number, oldest in connection.execute(_RUNS)}
    return DagsterState(
        read_heartbeats(connection),
        {status: number for status, (number, _) in runs.items()},
        runs["QUEUED"][1].replace(tzinfo=UTC) if "QUEUED" in runs else None,
    )


def _as_stored(moment: datetime) -> datetime:
    """Return a moment as Dagster's columns have it: UTC, without saying so."""
    return moment.astimezone(UTC).replace(tzinfo=None)


def _find_first(connection: Connection, since: datetime) -> int | None:
    """Return an id from which on rows of checks are younger; None if there is none.

    The table has no index of time, and its ids are in the order of time: so it is searched by them.
    """
    low, high = connection.execute(_BOUNDS).fetchone() or (None, None)
    if low is None or high is None:
        return None
    while low < high:
        middle = (low + high) // 2
        found = connection.execute(_MOMENT_OF, (middle,)).fetchone()
        if found is None or found[1] >= since:
            high = middle
        else:
            low = found[0] + 1
    return int(low)


def _read_event(text: str | None) -> dict[str, Any]:
    try:
        document = json.loads(text or "{}")
    except ValueError:
        return {}
    data = (document.get("dagster_event") or {}).get("event_specific_data")
    return data if isinstance(data, dict) else {}


def _read_description(event: str) -> str:
    return str(_read_event(event).get("description") or "")


def _read_reason(event: str | None) -> str:
    """Return what a failed step, or a run that failed without one, says of itself."""
    data = _read_event(event)
    said = (data.get("user_failure_data") or {}).get("description")
    error = data.get("error") or {}
    cause = error.get("cause") or {}
    text = said or cause.get("message") or error.get("message") or ""
    return " ".join(str(text).split())
