"""The asset `<source>/raw_calls`: each day's calls as received, one Parquet file a day.

A run fetches its days side by side and writes each as it comes, so memory does not grow with the
period. A step that Dagster runs again in the same run goes on where it stopped.
"""

from datetime import date
from typing import Any

import dagster as dg

from callkeeper_assets.assets.config import LOAD_SCHEMA, LoadConfig, read_config
from callkeeper_assets.assets.day_events import log_materializations
from callkeeper_assets.assets.failures import (
    RETRY_POLICY,
    failing_clearly,
    logging_failure,
)
from callkeeper_assets.assets.fetching import Fetching, name_pool, open_fetching
from callkeeper_assets.assets.partitions import (
    build_partitions,
    days_of_run,
    first_run_id,
    other_days_of_run,
)
from callkeeper_assets.assets.resources import (
    CallKeeperResource,
    RawCallsResource,
    WarehouseResource,
)
from callkeeper_assets.assets.signatures import with_known_signature
from callkeeper_assets.assets.table_specs import RAW_CALLS_SCHEMA
from callkeeper_assets.config.errors import ConfigError
from callkeeper_assets.config.source import Source
from callkeeper_assets.dagster_ext.steps import add_day_metadata
from callkeeper_assets.raw.store import store_days
from callkeeper_assets.runs import progress
from callkeeper_assets.runs.lock import held_source_lock
from callkeeper_assets.warehouse.records import Guard


class BeyondHistoryError(ConfigError):
    """A day that the plan, `start_date` or retention does not let the source have."""

    def __init__(self, *, source: Source, day: date) -> None:
        today = source.today()
        first_day = source.first_day(today)
        super().__init__(
            f"Source '{source.name}': {day} cannot be fetched, the first day is {first_day}: "
            f"{source.explain_first_day(today)}. Choose such days, or correct the setting in "
            f"{source.file}."
            + (
                " Tables of older days whose raw calls are there can be materialized without "
                "raw_calls."
                if source.first_held_day(today) < first_day
                else ""
            )
        )


def build_raw_calls(source: Source) -> dg.AssetsDefinition:
    """Build the asset of one source."""

    @dg.asset(
        key=[source.name, "raw_calls"],
        group_name=source.name,
        owners=source.owners,
        description=(
            f"Calls of {source.caption} as CallKeeper sent them: the JSON text of each call, one "
            f"Parquet file a day ({source.time_zone.key}). Everything after it can be rebuilt "
            "from it without asking the API."
        ),
        kinds={"callkeeper", "parquet"},
        metadata={
            "dagster/column_schema": RAW_CALLS_SCHEMA,
            "look_back_days": source.refresh.overlap_days,
            "api": source.base_url,
        },
        partitions_def=build_partitions(source),
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool=name_pool(source),
        retry_policy=RETRY_POLICY,
        config_schema=LOAD_SCHEMA,
    )
    @with_known_signature
    def raw_calls(
        context: dg.AssetExecutionContext,
        callkeeper: CallKeeperResource,
        raw_store: RawCallsResource,
        warehouse: WarehouseResource,
    ) -> None:
        is_forced = read_config(context, LoadConfig).force
        guard = None if is_forced else Guard(max_lost_share=source.max_lost_share)
        with failing_clearly(context):
            store = raw_store.open_store()
        days = days_of_run(context)
        with (
            failing_clearly(context),
            logging_failure(source, context.run, days),
            warehouse.open(context, source) as url,
            # Nobody rewrites the source's calls until the last day that is fetched is stored.
            held_source_lock(url, source.name),
        ):
            if days[0] < source.first_day(source.today()):
                raise BeyondHistoryError(source=source, day=days[0])
            fetching = open_fetching(context, source, store, guard, url)
            days[:] = _days_to_fetch(fetching, days)
            total, others = len(days), other_days_of_run(context)
            metadata: dict[date, dict[str, Any]] = {}
            with fetching.open(callkeeper, days) as fetched:
                for day in store_days(store, fetched):
                    described = {day.day: fetching.describe(day)}
                    if day.day in others:
                        # Dagster would not: it knows of the run's range only.
                        log_materializations(context, context.asset_key, described)
                    else:
                        metadata |= described
                    days.remove(day.day)
                    progress.report("fetched", total - len(days), total)
            if fetching.error:
                raise fetching.error
            add_day_metadata(context, context.asset_key, metadata)
        context.log.info("Raw calls are below %s.", store.url)

    return raw_calls


def _days_to_fetch(fetching: Fetching, days: list[date]) -> list[date]:
    """Leave out the days that an earlier try of this run has stored."""
    context = fetching.context
    run_id = first_run_id(context.run)
    if context.retry_number == 0 and run_id == context.run.run_id:
        return days
    stored = {
        day
        for day in days
        if (details := fetching.store.read_details(fetching.source.name, day))
        and details.run_id == run_id
    }
    context.log.info("%d of %d days were fetched by an earlier try.", len(stored), len(days))
    return [day for day in days if day not in stored]
