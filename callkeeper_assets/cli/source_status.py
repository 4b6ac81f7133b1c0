"""What `status` shows: gathered from the configuration, the environment and the warehouse."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final, cast

from callkeeper_assets.alerts.facts import Facts, gather_facts, gather_local_facts
from callkeeper_assets.alerts.findings import find_all
from callkeeper_assets.alerts.texts import tell
from callkeeper_assets.config.errors import MissingSecretError
from callkeeper_assets.config.loading import BrokenSource
from callkeeper_assets.config.models import find_next_tick
from callkeeper_assets.config.source import Source
from callkeeper_assets.dagster_ext.observed import read_heartbeat, read_stopped
from callkeeper_assets.home import configured_backup_url, home
from callkeeper_assets.language import current_language, tr
from callkeeper_assets.plans import DayRange, Freshness, find_gaps, measure_freshness
from callkeeper_assets.postgres import read_sql_of
from callkeeper_assets.postgres.url import connect, database_url, describe, is_embedded
from callkeeper_assets.warehouse.migrate import VERSION_TABLE, ensure_schema
from callkeeper_assets.warehouse.queries import (
    ReconciliationStatus,
    SourceStatus,
    loaded_stretches,
    newest_days,
    reconciliation_statuses,
    source_statuses,
)
from callkeeper_assets.webhooks.audit import AuditStatus, audit_statuses
from callkeeper_assets.webhooks.inbox_queries import (
    InboxCounts,
    count_entries,
    list_hinted_days,
)

# It says that it lives every half minute.
_ALIVE: Final = timedelta(minutes=2)
_AUDITED: Final = timedelta(days=30)
_read_sql = read_sql_of("callkeeper_assets.cli")


@dataclass(frozen=True)
class LastLoad:
    """The last run that loaded a source, or failed to; `error` is None if it went well."""

    finished_at: datetime
    run_id: str
    days_failed: int
    error: str | None


@dataclass(frozen=True)
class Gap:
    """Days that are not loaded, both ends included."""

    first: date
    last: date


@dataclass(frozen=True)
class Coverage:
    """Which of the days that the source gives are loaded.

    Attributes:
        first: The first that is asked for; the last is yesterday.
        asked: How many that are.
        gaps: Those that are missing, the oldest first.
    """

    first: date
    asked: int
    loaded: int
    gaps: tuple[Gap, ...]


@dataclass(frozen=True)
class SourceReport:
    """One configured source.

    Attributes:
        loaded: None if nothing of it ever was.
        webhooks: None if the warehouse does not know the source.
        audit: Of the webhooks of the last 30 days; None if there was none.
        hinted_days: Days to be read again, as webhooks of call tracking hint at calls on them.
        freshness: Of its newest day; None if no day is loaded.
        coverage: None where there are no tables yet.
        next_refresh: When it is due next, if the daemon runs.
    """

    name: str
    caption: str
    key_variable: str
    has_key: bool
    loaded: SourceStatus | None
    last_load: LastLoad | None
    takes_webhooks: bool
    webhooks: InboxCounts | None
    reconciliation: ReconciliationStatus | None
    audit: AuditStatus | None
    hinted_days: tuple[date, ...]
    freshness: Freshness | None
    coverage: Coverage | None
    next_refresh: datetime


@dataclass(frozen=True)
class DatabaseReport:
    """The database in use; size in bytes, None where it does not exist yet."""

    url: str
    is_embedded: bool
    size_bytes: int | None


@dataclass(frozen=True)
class Need:
    """What needs a person, as alerts tell it; `remedy` says what to do."""

    kind: str
    subject: str
    severity: str
    since: datetime | None
    text: str
    remedy: str


@dataclass(frozen=True)
class DaemonReport:
    """Dagster's daemon, which starts what is due.

    Attributes:
        seen_at: When it last said that it lives; None if it never did.
        switched_off: Schedules and sensors that somebody has switched off.
    """

    is_running: bool
    seen_at: datetime | None
    switched_off: tuple[str, ...]


@dataclass(frozen=True)
class BackupReport:
    """The newest backup at `CALLKEEPER_BACKUP_URL`.

    Attributes:
        name: None if there is none.
        made_at: None if there is none.
        problem: Why that is not known; None if it is.
    """

    place: str
    name: str | None
    made_at: datetime | None
    problem: str | None


@dataclass(frozen=True)
class StatusReport:
    """Everything that `status` shows.

    Attributes:
        daemon: None where there are no tables yet.
        backup: None where no place is configured.
    """

    database: DatabaseReport
    daemon: DaemonReport | None
    backup: BackupReport | None
    sources: tuple[SourceReport, ...]
    refused: tuple[BrokenSource, ...]
    needs: tuple[Need, ...]


def gather_status(sources: Sequence[Source], refused: Sequence[BrokenSource]) -> StatusReport:
    """Gather the status of sources; makes no database where there is none.

    Raises:
        DatabaseError: The database cannot be reached.
        WarehouseError: It cannot be read.
    """
    names = [source.name for source in sources]
    loaded: dict[str, SourceStatus] = {}
    last: dict[str, LastLoad] = {}
    reconciled: dict[str, ReconciliationStatus] = {}
    inbox: dict[str, InboxCounts] = {}
    audits: Mapping[str, AuditStatus] = {}
    hinted: dict[str, tuple[date, ...]] = {}
    fresh: dict[str, Freshness] = {}
    coverage: dict[str, Coverage] = {}
    daemon = None
    facts = None
    now = datetime.now(UTC)
    if is_embedded() and not (home() / "postgres").exists():
        database = DatabaseReport(
            tr("embedded, in {home}", home=home() / "postgres"), is_embedded=True, size_bytes=None
        )
    else:
        url = database_url()
        size, has_tables = _look_at(url)
        database = DatabaseReport(describe(url), is_embedded=is_embedded(), size_bytes=size)
        if has_tables:
            ensure_schema(url)
            month = datetime(now.year, now.month, 1, tzinfo=UTC)
            loaded = {each.name: each for each in source_statuses(url, names, month)}
            last = _read_last_loads(url, names)
            reconciled = reconciliation_statuses(url, names, month)
            audits = audit_statuses(url, names, now.date() - _AUDITED)
            inbox = {each.source: each for each in count_entries(url, names)}
            for one in list_hinted_days(url):
                hinted[one.source] = (*hinted.get(one.source, ()), one.day)
            fresh = _read_freshness(url, sources, now)
            coverage = _measure_coverage(url, sources, now)
            daemon = _look_at_daemon(url, now)
            facts = gather_facts(url, sources, refused, now)
    reports = tuple(
        SourceReport(
            name=source.name,
            caption=source.caption,
            key_variable=source.api_key_env,
            has_key=_has_key(source),
            loaded=loaded.get(source.name),
            last_load=last.get(source.name),
            takes_webhooks=source.webhook is not None,
            webhooks=inbox.get(source.name),
            reconciliation=reconciled.get(source.name),
            audit=audits.get(source.name),
            hinted_days=hinted.get(source.name, ()),
            freshness=fresh.get(source.name),
            coverage=coverage.get(source.name),
            next_refresh=find_next_tick(source.refresh.cron, now, source.time_zone),
        )
        for source in sources
    )
    needs = _list_needs(facts or gather_local_facts(sources, refused))
    return StatusReport(database, daemon, _find_backup(), reports, tuple(refused), needs)


def _list_needs(facts: Facts) -> tuple[Need, ...]:
    found = ((one, tell(one, current_language())) for one in find_all(facts))
    return tuple(
        Need(one.kind, one.subject, one.severity, one.since, told.text, told.remedy)
        for one, told in found
    )


def _find_backup() -> BackupReport | None:
    url = configured_backup_url()
    if url is None:
        return None
    # Its package is only for who makes backups.
    from callkeeper_assets.backup.place import BackupError, Place, hide_password  # noqa: PLC0415
    from callkeeper_assets.backup.records import find_newest  # noqa: PLC0415

    place = hide_password(url)
    try:
        newest = find_newest(Place(url))
    except BackupError as error:
        return BackupReport(place, None, None, str(error))
    if newest is None:
        return BackupReport(place, None, None, None)
    return BackupReport(place, newest.name, newest.made_at, None)


def _has_key(source: Source) -> bool:
    try:
        return bool(source.read_api_key())
    except MissingSecretError:
        return False


def _read_freshness(url: str, sources: Sequence[Source], now: datetime) -> dict[str, Freshness]:
    newest = newest_days(url, [source.name for source in sources])
    return {
        source.name: measure_freshness(source, newest[source.name], now, grace=timedelta(0))
        for source in sources
        if source.name in newest
    }


def _measure_coverage(url: str, sources: Sequence[Source], now: datetime) -> dict[str, Coverage]:
    stretches = loaded_stretches(url, [source.name for source in sources])
    found = {}
    for source in sources:
        today = source.today(now)
        first, last = source.first_day(today), today - timedelta(days=1)
        loaded = [DayRange(*one) for one in stretches.get(source.name, ())]
        gaps = find_gaps(first, last, loaded)
        asked = max(0, (last - first).days + 1)
        found[source.name] = Coverage(
            first,
            asked,
            asked - sum(gap.days for gap in gaps),
            tuple(Gap(gap.first, gap.last) for gap in gaps),
        )
    return found


def _look_at_daemon(url: str, now: datetime) -> DaemonReport:
    with connect(url, autocommit=True) as connection:
        seen_at = read_heartbeat(connection)
        is_running = seen_at is not None and now - seen_at < _ALIVE
        return DaemonReport(is_running, seen_at, tuple(read_stopped(connection)))


def _look_at(url: str) -> tuple[int, bool]:
    """Return the database's size in bytes, and whether it has the warehouse's tables."""
    with connect(url, autocommit=True) as connection:
        row = connection.execute(
            "SELECT pg_database_size(current_database()), to_regclass(%s)", (VERSION_TABLE,)
        ).fetchone()
    size, table = row or (0, None)
    return cast("int", size), table is not None


def _read_last_loads(url: str, names: Sequence[str]) -> dict[str, LastLoad]:
    query = _read_sql("last_loads")
    with connect(url, autocommit=True) as connection:
        rows = connection.execute(query, (list(names),)).fetchall()
    found: dict[str, LastLoad] = {}
    for row in rows:
        name, *values = row
        found[str(name)] = LastLoad(*cast("tuple[datetime, str, int, str | None]", values))
    return found
