"""What there is to know of an installation, gathered at one moment: cheap enough for each minute.

From the configuration, the warehouse, Dagster's tables and this machine. Nothing here counts calls
or payloads; what `callkeeper status` shows beyond it, it reads for itself.
"""

import os
import shutil
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import psycopg

from callkeeper_assets.config.loading import BrokenSource
from callkeeper_assets.config.source import Source
from callkeeper_assets.dagster_ext.observed import (
    FailedJob,
    FailingCheck,
    has_tables,
    read_failed_jobs,
    read_failing_checks,
    read_heartbeat,
)
from callkeeper_assets.home import home, raw_url
from callkeeper_assets.postgres import connect, read_sql_of
from callkeeper_assets.warehouse.queries import newest_days
from callkeeper_assets.webhooks.inbox_queries import WaitingPayloads, list_waiting
from callkeeper_assets.webhooks.spool import list_files, read_spooled

Connection = psycopg.Connection[tuple[Any, ...]]
read_sql = read_sql_of("callkeeper_assets.alerts")

# Failures and losses that are older are told no more: who has not heeded a week will not.
_RECENT: Final = timedelta(days=7)
_RECENT_LOSSES: Final = timedelta(days=2)
# Days are loaded again for weeks; a check that fails stays failed until its day is.
_RECENT_CHECKS: Final = timedelta(days=31)
# They are asked each day, and each hour after a refusal: if not, nobody asks any more.
_KEPT_ANSWER: Final = timedelta(days=3)
_KEPT_REFUSAL: Final = timedelta(hours=3)
_MOST_COUNTED: Final = 10_000
# What follows the source's name in a job's, as `assets` has it; the command that does the same.
COMMANDS: Final = {
    "historic_load": "load",
    "refresh": "refresh",
    "reconciliation": "reconcile",
    "retention": "retain",
}


class Connections(NamedTuple):
    """Of the database's server: how many there are, and how many it gives to ordinary roles."""

    used: int
    most: int


@dataclass(frozen=True)
class FailedLoad:
    """A source of which the last that the load log has is a failure."""

    source: str
    day: date
    run_id: str
    error: str
    failed_at: datetime


@dataclass(frozen=True)
class Loss:
    """Webhooks of a source that the audit found missing lately; when the first of them."""

    source: str
    lost: int
    refused: int
    found_at: datetime


@dataclass(frozen=True)
class KeyState:
    """What a source said of its key, last; `error` is None where it took it."""

    source: str
    checked_at: datetime
    paid_till: datetime | None
    error: str | None


@dataclass(frozen=True)
class DiskSpace:
    """A disk that this machine writes to, by one of our folders on it; bytes."""

    folder: str
    free: int
    total: int


@dataclass(frozen=True)
class Machine:
    """What only this machine knows: its disks, and how many webhooks wait in its spool."""

    name: str
    disks: tuple[DiskSpace, ...] = ()
    spool: str = ""
    spooled: int = 0


@dataclass(frozen=True)
class Facts:
    """All of it.

    Attributes:
        is_complete: Whether the database was asked; else only the machine and the configuration.
        newest_days: By source of which something is loaded.
        heartbeat: Of Dagster's daemon; None if it never ran.
    """

    now: datetime
    sources: Sequence[Source]
    refused: Sequence[BrokenSource]
    machine: Machine
    is_complete: bool = False
    failed_jobs: Sequence[FailedJob] = ()
    failed_loads: Sequence[FailedLoad] = ()
    failing_checks: Sequence[FailingCheck] = ()
    newest_days: dict[str, date] = field(default_factory=dict)
    losses: Sequence[Loss] = ()
    waiting: Sequence[WaitingPayloads] = ()
    keys: Sequence[KeyState] = ()
    connections: Connections | None = None
    heartbeat: datetime | None = None


def look_at_machine() -> Machine:
    """Look at the disks of the home and of raw calls, and into the spool."""
    spool = home() / "spool"
    # A receiver drains it meanwhile.
    try:
        spooled = sum(1 for _ in islice(read_spooled(spool), _MOST_COUNTED))
    except (OSError, msgspec.DecodeError):
        spooled = len(list_files(spool))
    return Machine(name_machine(), tuple(_look_at_disks()), str(spool), spooled)


def name_machine() -> str:
    """Return this machine's name, by which its findings are told from others'."""
    return socket.gethostname()


def _look_at_disks() -> Iterator[DiskSpace]:
    seen = set()
    folders = [home()]
    if "://" not in raw_url():
        folders.append(Path(raw_url()))
    for folder in folders:
        there = next((one for one in (folder, *folder.parents) if one.exists()), None)
        if there is None or (device := os.stat(there).st_dev) in seen:  # noqa: PTH116 -- no Path's
            continue
        seen.add(device)
        usage = shutil.disk_usage(there)
        yield DiskSpace(str(folder), usage.free, usage.total)


def gather_local_facts(
    sources: Sequence[Source], refused: Sequence[BrokenSource], now: datetime | None = None
) -> Facts:
    """Gather what can be known without the database."""
    return Facts(now or datetime.now(UTC), sources, refused, look_at_machine())


def gather_facts(
    url: str,
    sources: Sequence[Source],
    refused: Sequence[BrokenSource],
    now: datetime | None = None,
    failing_checks: Sequence[FailingCheck] | None = None,
) -> Facts:
    """Gather everything; the warehouse's schema must be there.

    Args:
        url: Of the database.
        sources: All or some.
        refused: Those whose configuration is.
        now: When; now if it is left out.
        failing_checks: As `gather_failing_checks` returned them lately; None has them gathered.

    Raises:
        DatabaseError: The database cannot be reached.
    """
    facts = gather_local_facts(sources, refused, now)
    names = [source.name for source in sources]
    facts = replace(
        facts,
        is_complete=True,
        newest_days=dict(newest_days(url, names)),
        waiting=[one for one in list_waiting(url) if one.source in names],
    )
    with connect(url) as connection:
        facts = replace(
            facts,
            failed_loads=_read_failed_loads(connection, names, facts.now),
            losses=_read_losses(connection, names, facts.now),
            keys=_read_keys(connection, names, facts.now),
            connections=_count_connections(connection),
        )
        if has_tables(connection):
            failed_jobs = [
                job
                for job in read_failed_jobs(connection, facts.now - _RECENT)
                if not _are_its_days_loaded(connection, job, sources)
            ]
            facts = replace(
                facts,
                failed_jobs=failed_jobs,
                heartbeat=read_heartbeat(connection),
            )
    if failing_checks is None:
        failing_checks = gather_failing_checks(url, facts.now)
    return replace(facts, failing_checks=failing_checks)


def gather_failing_checks(url: str, now: datetime) -> list[FailingCheck]:
    """Gather the checks that fail; what takes the longest, as all of a month's are looked through.

    Raises:
        DatabaseError: The database cannot be reached.
    """
    with connect(url) as connection:
        if not has_tables(connection):
            return []
        return read_failing_checks(connection, now - _RECENT_CHECKS)


def find_command(job: FailedJob, sources: Sequence[Source]) -> str | None:
    """Return the name of the command that does what a source's job does, if there is one."""
    names = ((source.stem, *kind) for source in sources for kind in COMMANDS.items())
    return next((command for stem, kind, command in names if job.job == f"{stem}_{kind}"), None)


def _are_its_days_loaded(connection: Connection, job: FailedJob, sources: Sequence[Source]) -> bool:
    """Whether another job has loaded since what a load was to load: a refresh does, too."""
    if find_command(job, sources) not in {"load", "refresh"} or job.partitions is None:
        return False
    first, last = job.partitions
    values = {"source": job.sources, "first": first, "last": last, "since": job.last_failed_at}
    row = connection.execute(read_sql("loaded_since"), values).fetchone()
    return row == (True,)


def _read_failed_loads(
    connection: Connection, names: Sequence[str], now: datetime
) -> list[FailedLoad]:
    values = {"names": names, "since": now - _RECENT}
    rows = connection.execute(read_sql("failed_loads"), values).fetchall()
    return [FailedLoad(*row) for row in rows]


def _read_losses(connection: Connection, names: Sequence[str], now: datetime) -> list[Loss]:
    values = {"names": names, "since": now - _RECENT_LOSSES}
    return [Loss(*row) for row in connection.execute(read_sql("losses"), values).fetchall()]


def _read_keys(connection: Connection, names: Sequence[str], now: datetime) -> list[KeyState]:
    values = {"names": names, "since": now - _KEPT_ANSWER, "refused_since": now - _KEPT_REFUSAL}
    rows = connection.execute(read_sql("keys"), values).fetchall()
    return [KeyState(*row) for row in rows]


def _count_connections(connection: Connection) -> Connections:
    row = connection.execute(read_sql("connections")).fetchone()
    assert row is not None  # noqa: S101 -- it is one row
    return Connections(*row)
