"""The assets `<source>/<table>`: the selected tables of the warehouse, as one multi-asset.

One step loads them, whichever of them a run is for: a day's tables commit together. A day that the
guard refuses does not stop the others: they are loaded and recorded, then the step fails.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

import dagster as dg

from callkeeper_assets.assets.config import LOAD_SCHEMA, LoadConfig, read_config
from callkeeper_assets.assets.day_checks import build_check_specs, log_checks
from callkeeper_assets.assets.day_events import log_materializations
from callkeeper_assets.assets.day_metadata import describe_counts
from callkeeper_assets.assets.failures import (
    RETRY_POLICY,
    failing_clearly,
    logging_failure,
)
from callkeeper_assets.assets.partitions import (
    build_partitions,
    days_of_run,
    first_run_id,
    other_days_of_run,
)
from callkeeper_assets.assets.resources import RawCallsResource, WarehouseResource
from callkeeper_assets.assets.signatures import with_known_signature
from callkeeper_assets.assets.table_specs import (
    build_column_lineage,
    build_table_spec,
)
from callkeeper_assets.config.source import Source
from callkeeper_assets.dagster_ext.steps import add_day_metadata
from callkeeper_assets.raw.days import Day, DayDetails
from callkeeper_assets.raw.store import RawStore
from callkeeper_assets.runs import progress
from callkeeper_assets.runs.lock import held_source_lock
from callkeeper_assets.warehouse.records import Guard, LoadedDay
from callkeeper_assets.warehouse.tables import TABLES

# A day may be fetched by another run between being read and being loaded, but not time and again.
_ATTEMPTS: Final = 3


@dataclass(frozen=True)
class _Outcome:
    """What came of a run's days.

    Attributes:
        fetched: how those that were read had been fetched.
        kept_back: those whose answer this run refused, with why.
    """

    loaded: list[LoadedDay] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    fetched: dict[date, DayDetails] = field(default_factory=dict)
    kept_back: dict[date, str] = field(default_factory=dict)


def build_tables(source: Source) -> dg.AssetsDefinition:
    """Build the multi-asset of a source's selected tables."""
    partitions = build_partitions(source)

    @dg.multi_asset(
        name=f"{source.name}__tables",
        specs=[build_table_spec(source, TABLES[name], partitions) for name in source.tables],
        check_specs=build_check_specs(source, partitions),
        can_subset=True,
        backfill_policy=dg.BackfillPolicy.single_run(),
        retry_policy=RETRY_POLICY,
        config_schema=LOAD_SCHEMA,
    )
    @with_known_signature
    def tables(
        context: dg.AssetExecutionContext,
        raw_store: RawCallsResource,
        warehouse: WarehouseResource,
    ) -> Iterator[dg.MaterializeResult[None]]:
        config = read_config(context, LoadConfig)
        days = days_of_run(context)
        with (
            failing_clearly(context),
            logging_failure(source, context.run, days),
            warehouse.open(context, source) as url,
            held_source_lock(url, source.name),
        ):
            store = raw_store.open_store()
            outcome = _load(context, source, config, store, url=url, days=days)
            if outcome.refusals:
                _record_one_by_one(context, outcome.loaded)
            else:
                others = other_days_of_run(context)
                _describe_days(
                    context, source, [one for one in outcome.loaded if one.day not in others]
                )
                _record_one_by_one(context, [one for one in outcome.loaded if one.day in others])
                # In the order of declaration, which puts a table after those that it refers to.
                for table in source.tables:
                    key = dg.AssetKey([source.name, table])
                    if key in context.selected_asset_keys:
                        yield dg.MaterializeResult(asset_key=key)
            # After the materializations: Dagster counts a check's result for the newest one only.
            log_checks(context, source, url, outcome.loaded, outcome.fetched)
        if outcome.refusals:
            raise dg.Failure("\n".join(outcome.refusals), allow_retries=False)

    return tables


def _load(
    context: dg.AssetExecutionContext,
    source: Source,
    config: LoadConfig,
    store: RawStore,
    *,
    url: str,
    days: list[date],
) -> _Outcome:
    """Load the run's days, but for those whose newest answer was refused in this very run.

    Those done are taken out of `days`.
    """
    # DuckDB, Arrow and the database's driver: 0.4 s, which loading the code location need not pay.
    from callkeeper_assets.warehouse.loader import Loader, log_failure  # noqa: PLC0415

    account, run_id = source.account, context.run.run_id
    outcome = _Outcome()
    total = len(days)
    wanted: Sequence[date] = tuple(days)
    attempts = _ATTEMPTS
    with Loader(url) as loader:
        while wanted:
            attempts -= 1
            outdated: list[date] = []
            for result in loader.load(
                account,
                _read_days(source, store, wanted, first_run_id(context.run), outcome),
                tables=source.tables,
                filters=source.filters,
                run_id=run_id,
                guard=None if config.force else Guard(max_lost_share=source.max_lost_share),
            ):
                if isinstance(result, LoadedDay):
                    outcome.loaded.append(result)
                elif result.is_outdated and attempts:
                    # Another run has fetched and loaded it meanwhile: its raw calls are newer too.
                    outdated.append(result.day)
                    continue
                else:
                    outcome.refusals.append(result.reason)
                days.remove(result.day)
                progress.report("loaded", total - len(days), total)
            wanted = outdated
    outcome.loaded.sort(key=lambda one: one.day)
    for day, reason in outcome.kept_back.items():
        # The loader logs the days that it refuses itself; these it has never seen.
        log_failure(url, account, [day], run_id, reason)
        outcome.refusals.append(reason)
    _log_totals(context, outcome.loaded)
    return outcome


def _read_days(
    source: Source,
    store: RawStore,
    days: Iterable[date],
    run_id: str,
    outcome: _Outcome,
) -> Iterator[Day]:
    """Read the days, but note those whose answer this run refused as kept back, with why."""
    for day in days:
        refusal = source.find_retention_problem(day) or _read_refusal(source, store, day, run_id)
        if refusal:
            outcome.kept_back[day] = refusal
            continue
        read = store.read(source.name, day)
        outcome.fetched[day] = read.details
        yield read


def _read_refusal(source: Source, store: RawStore, day: date, run_id: str) -> str:
    """Say why this run's answer for the day was not stored; empty if it was."""
    details = store.read_details(source.name, day, "refused")
    return details.refusal if details and details.run_id == run_id else ""


def _log_totals(context: dg.AssetExecutionContext, loaded: Iterable[LoadedDay]) -> None:
    counts = [counts for day in loaded for counts in day.counts.values()]
    context.log.info(
        "Rows in all tables: %d added, %d updated, %d deleted.",
        sum(one.added for one in counts),
        sum(one.updated for one in counts),
        sum(one.deleted for one in counts),
    )


def _describe_days(
    context: dg.AssetExecutionContext, source: Source, loaded: Sequence[LoadedDay]
) -> None:
    for key in context.selected_asset_keys:
        table = key.path[-1]
        metadata = {day.day: _describe_day(day, table) for day in loaded}
        if loaded:
            # The UI shows the newest event's; in each day's it would only fill the event log.
            metadata[loaded[-1].day]["dagster/column_lineage"] = build_column_lineage(
                source, TABLES[table]
            )
        add_day_metadata(context, key, metadata)


def _describe_day(day: LoadedDay, table: str) -> dict[str, Any]:
    unconfirmed = day.unconfirmed.get(table, 0)
    unusable = sum(day.unusable_values.values())
    return {
        "dagster/row_count": day.count_rows(table),
        **describe_counts(day.counts[table]),
        "raw_calls": day.raw_calls,
        "non_final_calls": day.non_final,
        **({"told_by_webhooks_only": unconfirmed} if unconfirmed else {}),
        **({"unusable_values": unusable} if unusable else {}),
    }


def _record_one_by_one(context: dg.AssetExecutionContext, loaded: Iterable[LoadedDay]) -> None:
    """Record days that Dagster would not: the step is going to fail, or they are out of range."""
    for key in context.selected_asset_keys:
        days = {day.day: _describe_day(day, key.path[-1]) for day in loaded}
        log_materializations(context, key, days)
