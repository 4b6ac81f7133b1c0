"""The days of a source as Dagster's partitions, and the days that a run is for."""

from collections.abc import Iterable
from datetime import date
from typing import Final

import dagster as dg

from callkeeper_assets.config.source import Source

RANGE_START_TAG: Final = "dagster/asset_partition_range_start"
RANGE_END_TAG: Final = "dagster/asset_partition_range_end"
# Days outside the range that the run is for as well. Dagster knows ranges only, and would take all
# days between for planned, and for failed with the run: these days' events are logged by hand.
OTHER_DAYS_TAG: Final = "callkeeper/other_days"


def build_partitions(source: Source) -> dg.DailyPartitionsDefinition:
    """Days from `start_date` to today, today included, in the source's time zone."""
    return dg.DailyPartitionsDefinition(
        start_date=source.start_date.isoformat(), timezone=source.time_zone.key, end_offset=1
    )


def days_of_run(context: dg.AssetExecutionContext) -> list[date]:
    """Return the run's days, in order."""
    return sorted({*map(date.fromisoformat, context.partition_keys), *other_days_of_run(context)})


def other_days_of_run(context: dg.AssetExecutionContext) -> set[date]:
    """Return those of the run's days that lie outside its range, of which Dagster does not know."""
    listed = context.run.tags.get(OTHER_DAYS_TAG, "")
    return {date.fromisoformat(day) for day in listed.split()} - set(
        map(date.fromisoformat, context.partition_keys)
    )


def build_range_tags(first: date, last: date, others: Iterable[date] = ()) -> dict[str, str]:
    """Return the tags that make a run one for the days `first` to `last`, and for `others`."""
    tags = {RANGE_START_TAG: first.isoformat(), RANGE_END_TAG: last.isoformat()}
    listed = " ".join(day.isoformat() for day in others)
    return {**tags, OTHER_DAYS_TAG: listed} if listed else tags


def first_run_id(run: dg.DagsterRun) -> str:
    """Return the id that a run shares with the runs that Dagster re-executes from it."""
    return run.root_run_id or run.run_id
