"""The asset `<source>/raw_calls`: each day's calls as received, one Parquet file a day.

A run fetches its days side by side and writes each as it comes, so memory does not grow with the
period. A step that Dagster runs again in the same run goes on where it stopped.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date

import dagster as dg

from callkeeper_assets.assets.config import LOAD_SCHEMA, LoadConfig, read_config
from callkeeper_assets.assets.day_events import log_materializations
from callkeeper_assets.assets.failures import (
    RETRY_POLICY,
    failing_clearly,
    logging_failure,
)
from callkeeper_assets.assets.fetching import Judgement, name_pool
from callkeeper_assets.assets.partitions import (
    build_partitions,
    days_of_run,
    first_run_id,
    other_days_of_run,
)
from callkeeper_assets.assets.raw_calls_io import DayToStore, RawCallsStream
from callkeeper_assets.assets.resources import (
    CallKeeperResource,
    RawCallsResource,
    WarehouseResource,
)
from callkeeper_assets.assets.signatures import with_known_signature
from callkeeper_assets.assets.table_specs import RAW_CALLS_SCHEMA
from callkeeper_assets.config.errors import ConfigError
from callkeeper_assets.config.source import Source
from callkeeper_assets.database.url import database_url
from callkeeper_assets.raw.store import RawStore
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
        io_manager_key="raw_calls_io",
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
    ) -> RawCallsStream:
        is_forced = read_config(context, LoadConfig).force
        guard = None if is_forced else Guard(max_lost_share=source.max_lost_share)
        with failing_clearly(context):
            store = raw_store.open_store()
        days = days_of_run(context)
        fetched = _fetch(_Fetch(context, source, store, guard), callkeeper, warehouse, days)
        return RawCallsStream(fetched, _hold_source(context, source, days))

    return raw_calls


@dataclass(frozen=True)
class _Fetch:
    """One run's fetching: see `Judgement`, which it becomes when the database is there."""

    context: dg.AssetExecutionContext
    source: Source
    store: RawStore
    guard: Guard | None

    def open_judgement(self, url: str) -> Judgement:
        from callkeeper_assets.personal_data.shield import open_shield  # noqa: PLC0415

        shield = open_shield(url, self.source)
        return Judgement(self.context, self.source, self.store, self.guard, shield)


@contextmanager
def _hold_source(
    context: dg.AssetExecutionContext, source: Source, days: list[date]
) -> Iterator[None]:
    """Let nobody rewrite the source's calls until the last day that is fetched is stored."""
    with (
        failing_clearly(context),
        logging_failure(source, context.run, days),
        held_source_lock(database_url(), source.name),
    ):
        yield


def _fetch(
    fetch: _Fetch,
    callkeeper: CallKeeperResource,
    warehouse: WarehouseResource,
    days: list[date],
) -> Iterator[DayToStore]:
    """Fetch the run's days, in order; those that this run has already stored are not asked again.

    Those done are taken out of `days`.

    Raises:
        dagster.Failure: What the source, the store or the configuration said.
    """
    source, context = fetch.source, fetch.context
    others = other_days_of_run(context)
    with (
        failing_clearly(context),
        logging_failure(source, context.run, days),
        warehouse.open(context, source) as url,
    ):
        judgement = fetch.open_judgement(url)
        if days[0] < source.first_day(source.today()):
            raise BeyondHistoryError(source=source, day=days[0])
        days[:] = _days_to_fetch(judgement, days)
        total = len(days)
        with (
            callkeeper.open_client(source) as client,
            judgement.shield.passing(total) as prepare,
            closing(client.fetch_days(tuple(days), prepare)) as answers,
        ):
            for fetched in answers:
                day = judgement.judge(fetched)
                if fetched.day not in others:
                    context.add_asset_metadata(
                        judgement.describe(day), partition_key=fetched.day.isoformat()
                    )
                yield day
                if fetched.day in others:
                    log_materializations(
                        context, context.asset_key, {fetched.day: judgement.describe(day)}
                    )
                days.remove(fetched.day)
                progress.report("fetched", total - len(days), total)


def _days_to_fetch(judgement: Judgement, days: list[date]) -> list[date]:
    """Leave out the days that an earlier try of this run has stored."""
    run = judgement.context.run
    run_id = first_run_id(run)
    if judgement.context.retry_number == 0 and run_id == run.run_id:
        return days
    stored = {
        day
        for day in days
        if (details := judgement.store.read_details(judgement.source.name, day))
        and details.run_id == run_id
    }
    judgement.context.log.info(
        "%d of %d days were fetched by an earlier try.", len(stored), len(days)
    )
    return [day for day in days if day not in stored]
