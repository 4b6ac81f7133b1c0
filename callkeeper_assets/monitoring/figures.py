"""The installation in figures, gathered anew each time somebody asks.

Reads, and makes nothing: a role with the rights of `metrics` is enough (`warehouse.grants`). Names
of metrics are a user's, dashboards go by them; `deploy/monitoring` has rules and a board.
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from prometheus_client.core import GaugeMetricFamily, Metric

from callkeeper_assets.config.errors import MissingSecretError
from callkeeper_assets.config.source import Source
from callkeeper_assets.dagster_ext.observed import DagsterState, read_dagster_state
from callkeeper_assets.home import home
from callkeeper_assets.plans import measure_freshness
from callkeeper_assets.postgres import connect, read_sql_of
from callkeeper_assets.warehouse.migrate import VERSION_TABLE

if TYPE_CHECKING:
    import psycopg

_AUDITED: Final = timedelta(days=30)
_UNDER_WAY: Final = ("QUEUED", "NOT_STARTED", "STARTING", "STARTED", "CANCELING")
_ENDED: Final = ("SUCCESS", "FAILURE", "CANCELED")
_DATABASE: Final = """
    SELECT
        pg_database_size(current_database()),
        (SELECT sum(numbackends) FROM pg_stat_database),
        current_setting('max_connections')::int
            - current_setting('superuser_reserved_connections')::int,
        to_regclass(%s) IS NOT NULL
"""
_read_sql = read_sql_of("callkeeper_assets.monitoring")


@dataclass(frozen=True)
class SourceFigures:
    """One source of which something is stored.

    Attributes:
        newest_day: That is loaded; None if none is.
        days_behind: Days between it and the day that a refresh should have brought, two hours ago.
        last_success_at: Of a load; None if none succeeded.
        has_failed: Whether the last run that loaded it failed any day.
    """

    newest_day: date | None
    days_behind: int
    last_success_at: datetime | None
    has_failed: bool
    open_discrepancies: int
    lost_webhooks: int


@dataclass(frozen=True)
class Figures:
    """What the database has.

    Attributes:
        connections: Of the whole server.
        most_connections: That it admits, but for those that it reserves for administrators.
        sources: By name.
    """

    size_bytes: int
    connections: int
    most_connections: int
    dagster: DagsterState
    sources: Mapping[str, SourceFigures]


def gather(url: str, sources: Sequence[Source], now: datetime | None = None) -> Figures:
    """Gather the figures of these sources.

    Raises:
        DatabaseError: The database cannot be reached.
    """
    at = now or datetime.now(UTC)
    with connect(url, autocommit=True) as connection:
        row = connection.execute(_DATABASE, (VERSION_TABLE,)).fetchone()
        assert row is not None  # noqa: S101 -- it is one row
        size, connections, most, has_tables = row
        dagster = read_dagster_state(connection)
        found = _read_sources(connection, sources, at) if has_tables else {}
    return Figures(int(str(size)), int(str(connections)), int(str(most)), dagster, found)


def _read_sources(
    connection: "psycopg.Connection[tuple[Any, ...]]", sources: Sequence[Source], now: datetime
) -> dict[str, SourceFigures]:
    names = [source.name for source in sources]
    values = {"names": names, "since": now.date() - _AUDITED}
    rows = connection.execute(_read_sql("sources").encode(), values).fetchall()
    by_name = {source.name: source for source in sources}
    found = {}
    for name, newest_day, last_success_at, has_failed, discrepancies, lost in rows:
        behind = 0
        if newest_day:
            fresh = measure_freshness(by_name[name], newest_day, now)
            behind = max(0, (fresh.due_day - newest_day).days)
        found[name] = SourceFigures(
            newest_day, behind, last_success_at, bool(has_failed), discrepancies, lost
        )
    return found


def list_metrics(
    figures: Figures | None, sources: Sequence[Source], refused: int
) -> Iterator[Metric]:
    """Yield all metrics.

    Args:
        figures: None while the database is away; then there are those alone that do without it.
        sources: Of the installation.
        refused: How many more cannot be loaded.
    """
    yield _single("database_reachable", "1 if the database is, else 0", float(figures is not None))
    yield _by("sources", "Sources, by state", "state", {"usable": len(sources), "refused": refused})
    yield _by(
        "key_missing",
        "1 if the source's API key cannot be had, else 0",
        "source",
        {source.name: float(not _has_key(source)) for source in sources},
    )
    if home().is_dir():
        disk = shutil.disk_usage(home())
        yield _single("home_free_bytes", "Free bytes where the home is", disk.free)
        yield _single("home_size_bytes", "All bytes there", disk.total)
    if figures is not None:
        yield from _list_of_database(figures)
        yield from _list_of_sources(figures.sources, {one.name: one for one in sources})


def _list_of_database(figures: Figures) -> Iterator[Metric]:
    yield _single("database_size_bytes", "Bytes of the database", figures.size_bytes)
    yield _single(
        "database_connections", "Connections to the database's server", figures.connections
    )
    yield _single("database_connections_max", "As many as it admits", figures.most_connections)
    state = figures.dagster
    if state.heartbeats:
        yield _single(
            "daemon_heartbeat_timestamp_seconds",
            "When Dagster's daemon last said that it lives",
            max(state.heartbeats.values()).timestamp(),
        )
    for name, text, statuses in (
        ("runs", "Runs under way, by status; QUEUED ones wait", _UNDER_WAY),
        ("runs_ended_last_day", "Runs that ended within a day, by status", _ENDED),
    ):
        yield _by(name, text, "status", {one: state.runs.get(one, 0) for one in statuses})
    if state.oldest_queued_at:
        yield _single(
            "oldest_queued_run_timestamp_seconds",
            "When the run that has waited for longest was made",
            state.oldest_queued_at.timestamp(),
        )


def _list_of_sources(
    found: Mapping[str, SourceFigures], sources: Mapping[str, Source]
) -> Iterator[Metric]:
    yield _by(
        "newest_day_timestamp_seconds",
        "When the newest day that is loaded began",
        "source",
        {
            name: sources[name].start_of(one.newest_day).timestamp()
            for name, one in found.items()
            if one.newest_day
        },
    )
    yield _by(
        "days_behind",
        "Days from the newest one loaded to the one that a refresh should have brought",
        "source",
        {name: one.days_behind for name, one in found.items() if one.newest_day},
    )
    yield _by(
        "last_success_timestamp_seconds",
        "When a load last succeeded",
        "source",
        {
            name: one.last_success_at.timestamp()
            for name, one in found.items()
            if one.last_success_at
        },
    )
    yield _by(
        "last_load_failed",
        "1 if the last run that loaded the source failed any day, else 0",
        "source",
        {name: float(one.has_failed) for name, one in found.items()},
    )
    yield _by(
        "open_discrepancies",
        "Discrepancies that reconciliation found and nothing has healed",
        "source",
        {name: one.open_discrepancies for name, one in found.items()},
    )
    yield _by(
        "lost_webhooks",
        "Webhooks of the last 30 days that CallKeeper says it sent, and that never came",
        "source",
        {name: one.lost_webhooks for name, one in found.items()},
    )


def _single(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"callkeeper_{name}", text, value=value)


def _by(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    metric = GaugeMetricFamily(f"callkeeper_{name}", text, labels=[label])
    for key, value in values.items():
        metric.add_metric([key], value)
    return metric


def _has_key(source: Source) -> bool:
    try:
        return bool(source.read_api_key())
    except MissingSecretError:
        return False
