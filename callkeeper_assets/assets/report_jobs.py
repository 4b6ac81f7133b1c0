"""The jobs and schedules of a source's reports: one of each report, and a job of all."""

from collections.abc import Iterator
from datetime import date

import dagster as dg

from callkeeper_assets.assets.partitions import build_range_tags
from callkeeper_assets.assets.report_specs import name_report_key
from callkeeper_assets.config.source import Source
from callkeeper_assets.database.url import database_url
from callkeeper_assets.home import raw_url
from callkeeper_assets.raw.store import RawStore
from callkeeper_assets.reports.definition import Report
from callkeeper_assets.runs.burial import SOURCE_TAG
from callkeeper_assets.runs.refresh_plan import DayRange
from callkeeper_assets.runs.report_plan import plan_report


def name_report_job(source: str, report: str) -> str:
    """Name the job, and the schedule, of a report."""
    return f"{source}_report_{report}"


def name_all_reports_job(source: str) -> str:
    """Name the job of all reports of a source."""
    return f"{source}_reports"


def build_report_jobs(source: Source) -> dg.Definitions:
    """Build a job and a schedule for each report, and a job of all reports of the source."""
    all_reports = dg.define_asset_job(
        name_all_reports_job(source.name),
        selection=dg.AssetSelection.assets(
            *(name_report_key(source, report) for report in source.reports)
        ),
        description=(
            f"All reports of {source.caption} for the chosen days, in one run: each day's raw "
            "calls are read once."
        ),
        tags={SOURCE_TAG: source.name},
    )
    return dg.Definitions.merge(
        dg.Definitions(jobs=[all_reports]),
        *(_build_job(source, report) for report in source.reports),
    )


def _build_job(source: Source, report: Report) -> dg.Definitions:
    name = name_report_job(source.name, report.name)
    job = dg.define_asset_job(
        name,
        selection=dg.AssetSelection.assets(name_report_key(source, report)),
        description=f"The report '{report.name}' of {source.caption}, for the chosen days.",
        tags={SOURCE_TAG: source.name},
    )

    @dg.schedule(
        name=name,
        job=job,
        cron_schedule=report.cron,
        execution_timezone=source.time_zone.key,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=(
            f"The report '{report.name}' of {source.caption}: today, {report.overlap_days} days "
            "before it, and each day whose calls, or whose definition of the report, changed since "
            f"it was built. {report.cron}, {source.time_zone.key}."
        ),
        tags={SOURCE_TAG: source.name},
    )
    def refresh(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        tick = context.scheduled_execution_time
        ranges = plan_report_refresh(source, report, today=source.today(tick))
        if not ranges:
            yield dg.SkipReason("No raw calls are there to build it from.")
        for days in ranges:
            yield dg.RunRequest(
                run_key=f"{tick.isoformat()} {days.first}",
                tags={SOURCE_TAG: source.name, **build_range_tags(days.first, days.last)},
            )

    return dg.Definitions(jobs=[job], schedules=[refresh])


def plan_report_refresh(source: Source, report: Report, *, today: date) -> list[DayRange]:
    """Plan a report's refresh by what its tables hold and which raw calls are there.

    Raises:
        DatabaseError: No database can be reached or started.
        StoreError: The raw calls cannot be reached.
        WarehouseError: The database's schema cannot be brought to this version.
    """
    # The database's driver, which loading the code location need not pay for.
    from callkeeper_assets.reports.books import find_stale_days  # noqa: PLC0415
    from callkeeper_assets.warehouse.migrate import ensure_schema  # noqa: PLC0415

    url = database_url()
    ensure_schema(url)
    return plan_report(
        today=today,
        overlap_days=report.overlap_days,
        first_day=source.start_date,
        stale=find_stale_days(url, source.account, report),
        stored=RawStore(raw_url()).list_days(source.name),
    )
