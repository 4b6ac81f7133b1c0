"""The jobs and schedules of a source: the historic load and the daily refresh."""

from collections.abc import Iterator, Sequence
from datetime import date
from functools import cache
from typing import Final

import dagster as dg

from callkeeper_assets.assets.days import build_range_tags
from callkeeper_assets.assets.keys import asset_key
from callkeeper_assets.assets.watch import list_watch_keys
from callkeeper_assets.config.source import Source
from callkeeper_assets.dagster_ext.dead_runs import SOURCE_TAG
from callkeeper_assets.dagster_ext.steps import AssetJob
from callkeeper_assets.home import raw_url
from callkeeper_assets.plans import DayRange, plan_rebuild, plan_refresh
from callkeeper_assets.postgres.keeping import kept_connection
from callkeeper_assets.postgres.url import database_url
from callkeeper_assets.raw.store import RawStore

# A source's asset that compares what webhooks said with what the source says.
AUDIT: Final = "webhook_audit"


def name_load_job(source: str) -> str:
    """Name the job of a source's historic load."""
    return f"{source}_historic_load"


def name_refresh_job(source: str) -> str:
    """Name the job, and the schedule, of a source's refresh."""
    return f"{source}_refresh"


def _list_loaded(source: Source) -> tuple[dg.AssetKey, ...]:
    names = ("raw_calls", *source.tables, *((AUDIT,) if source.has_webhook_audit else ()))
    return tuple(asset_key(source, name) for name in names)


def _select(
    assets: Sequence[dg.AssetKey], without: Sequence[dg.AssetCheckKey]
) -> dg.AssetSelection:
    return dg.AssetSelection.assets(*assets) - dg.AssetSelection.checks(*without)


# A sensor must have the very job that the schedule has: Dagster refuses two that are equal.
@cache
def _build_refresh_job(
    name: str,
    job: str,
    description: str,
    assets: tuple[dg.AssetKey, ...],
    without: tuple[dg.AssetCheckKey, ...],
) -> AssetJob:
    return dg.define_asset_job(
        job,
        selection=_select(assets, without),
        description=description,
        tags={SOURCE_TAG: name},
    )


def build_refresh_job(source: Source) -> AssetJob:
    """Build the job that reads a source's recent days again; the same one each time."""
    return _build_refresh_job(
        source.name,
        name_refresh_job(source.stem),
        f"Re-read of {source.caption}: today, {source.refresh.overlap_days} days before it, and "
        "older days whose calls are not all final.",
        _list_loaded(source),
        tuple(list_watch_keys(source)),
    )


def build_jobs(source: Source) -> dg.Definitions:
    """Build both jobs of a source, and the schedule of its refresh."""
    load_job = dg.define_asset_job(
        name_load_job(source.stem),
        selection=_select(_list_loaded(source), list_watch_keys(source)),
        description=f"Historic load of {source.caption}: the chosen days are loaded in one run.",
        tags={SOURCE_TAG: source.name},
    )
    refresh_job = build_refresh_job(source)

    @dg.schedule(
        name=name_refresh_job(source.stem),
        job=refresh_job,
        cron_schedule=source.refresh.cron,
        execution_timezone=source.time_zone.key,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"Refresh of {source.caption}: {source.refresh.cron}, {source.time_zone.key}.",
        tags={SOURCE_TAG: source.name},
    )
    def refresh(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest]:
        tick = context.scheduled_execution_time
        with kept_connection():
            rebuilt = plan_source_rebuild(source, today=source.today(tick))
            refreshed = plan_source_refresh(source, today=source.today(tick))
        # First: each is a look at raw calls that are there, and none waits for the source's key.
        for days in rebuilt:
            yield dg.RunRequest(
                run_key=f"{tick.isoformat()} {days.first} rebuild",
                asset_selection=list_table_keys(source),
                tags={SOURCE_TAG: source.name, **build_range_tags(days.first, days.last)},
            )
        for days in refreshed:
            yield dg.RunRequest(
                run_key=f"{tick.isoformat()} {days.first}",
                tags={
                    SOURCE_TAG: source.name,
                    **build_range_tags(days.first, days.last, days.others),
                },
            )

    return dg.Definitions(jobs=[load_job, refresh_job], schedules=[refresh])


def list_table_keys(source: Source) -> list[dg.AssetKey]:
    """Return the assets that a rebuild fills: the tables, from raw calls as they are stored."""
    return [asset_key(source, name) for name in source.tables]


def plan_source_rebuild(source: Source, *, today: date) -> list[DayRange]:
    """Plan which days are filled again, since an older version of this program filled them.

    Raises:
        DatabaseError: No database can be reached or started.
        StoreError: The raw calls cannot be reached.
        WarehouseError: The database's schema cannot be brought to this version.
    """
    # The database's driver, which loading the code location need not pay for.
    from callkeeper_assets.warehouse.migrate import ensure_schema  # noqa: PLC0415
    from callkeeper_assets.warehouse.queries import outdated_days  # noqa: PLC0415

    url = database_url()
    ensure_schema(url)
    outdated = outdated_days(url, source.name)
    if not outdated:
        return []
    return plan_rebuild(
        first_day=source.first_held_day(today),
        today=today,
        outdated=outdated,
        stored=RawStore(raw_url()).list_days(source.name),
    )


def plan_source_refresh(source: Source, *, today: date) -> list[DayRange]:
    """Plan a source's refresh by what its tables hold.

    Raises:
        DatabaseError: No database can be reached or started.
        WarehouseError: Its schema cannot be brought to this version.
    """
    # The database's driver, which loading the code location need not pay for.
    from callkeeper_assets.warehouse.migrate import ensure_schema  # noqa: PLC0415
    from callkeeper_assets.warehouse.queries import unsettled_days  # noqa: PLC0415
    from callkeeper_assets.webhooks.inbox_queries import list_hinted_days  # noqa: PLC0415

    url = database_url()
    ensure_schema(url)
    first_day = source.first_day(today)
    unsettled = unsettled_days(
        url,
        source.name,
        source.time_zone,
        before=today,
        since=first_day,
        settled_before=source.settled_before(today),
    )
    # Where no daemon starts a run for them, and where its runs changed nothing.
    hinted = [one.day for one in list_hinted_days(url) if one.source == source.name]
    return plan_refresh(
        today=today,
        overlap_days=source.refresh.overlap_days,
        first_day=first_day,
        unsettled=[*unsettled, *hinted],
    )
