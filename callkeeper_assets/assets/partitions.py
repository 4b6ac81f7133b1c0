"""The days of a source as Dagster's partitions, and the days that a run is for."""

from datetime import date
from typing import Final

import dagster as dg

from callkeeper_assets.config.source import Source

RANGE_START_TAG: Final = "dagster/asset_partition_range_start"
RANGE_END_TAG: Final = "dagster/asset_partition_range_end"


def build_partitions(source: Source) -> dg.DailyPartitionsDefinition:
    """Days from `start_date` to today, today included, in the source's time zone."""
    return dg.DailyPartitionsDefinition(
        start_date=source.start_date.isoformat(), timezone=source.time_zone.key, end_offset=1
    )


def days_of_run(context: dg.AssetExecutionContext) -> list[date]:
    """Return the run's days, in order."""
    return sorted(date.fromisoformat(key) for key in context.partition_keys)


def build_range_tags(first: date, last: date) -> dict[str, str]:
    """Return the tags that make a run one for the days `first` to `last`, inclusive."""
    return {RANGE_START_TAG: first.isoformat(), RANGE_END_TAG: last.isoformat()}


def first_run_id(run: dg.DagsterRun) -> str:
    """Return the id that a run shares with the runs that Dagster re-executes from it."""
    return run.root_run_id or run.run_id
