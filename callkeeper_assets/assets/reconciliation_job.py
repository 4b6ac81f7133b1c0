"""The job and the schedule of a source's reconciliation."""

from collections.abc import Iterator
from datetime import timedelta

import dagster as dg

from callkeeper_assets.assets.partitions import build_range_tags
from callkeeper_assets.assets.reconciliation import NAME
from callkeeper_assets.config.source import Source
from callkeeper_assets.runs.burial import SOURCE_TAG


def name_reconciliation_job(source: str) -> str:
    """Name the job, and the schedule, of a source's reconciliation."""
    return f"{source}_{NAME}"


def build_reconciliation_job(source: Source) -> dg.Definitions:
    """Build the job, for any days in one run, and its schedule."""
    name, days_back = name_reconciliation_job(source.name), source.reconciliation.days
    job = dg.define_asset_job(
        name,
        selection=dg.AssetSelection.assets(dg.AssetKey([source.name, NAME])),
        description=f"Reconciliation of {source.caption}: the chosen days in one run.",
        tags={SOURCE_TAG: source.name},
    )

    @dg.schedule(
        name=name,
        job=job,
        cron_schedule=source.reconciliation.cron,
        execution_timezone=source.time_zone.key,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=(
            f"Reconciliation of the {days_back} days before today of {source.caption}: "
            f"{source.reconciliation.cron}, {source.time_zone.key}."
        ),
        tags={SOURCE_TAG: source.name},
    )
    def reconciliation(
        context: dg.ScheduleEvaluationContext,
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        tick = context.scheduled_execution_time
        today = source.today(tick)
        # Today's calls are still coming: each since the last refresh would be a discrepancy.
        last = today - timedelta(days=1)
        first = max(source.first_day(today), today - timedelta(days=days_back))
        if first > last:
            yield dg.SkipReason(f"The source gives no day before {today}.")
            return
        yield dg.RunRequest(
            run_key=tick.isoformat(),
            tags={SOURCE_TAG: source.name, **build_range_tags(first, last)},
        )

    return dg.Definitions(jobs=[job], schedules=[reconciliation])
