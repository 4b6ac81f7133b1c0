"""Days in Dagster: partitions, which days a run is for, and events and metadata of each day.

Dagster's own results have no partition where a run has many; events of single days are made here.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any, Final, TypeVar

import dagster as dg
from pydantic import Field

from callkeeper_assets.config.source import Source
from callkeeper_assets.dagster_ext.steps import name_checked_materialization, store_step_events
from callkeeper_assets.warehouse.records import RowCounts

RANGE_START_TAG: Final = "dagster/asset_partition_range_start"
RANGE_END_TAG: Final = "dagster/asset_partition_range_end"
# Days outside the range that the run is for as well. Dagster knows ranges only, and would take all
# days between for planned, and for failed with the run: these days' events are logged by hand.
OTHER_DAYS_TAG: Final = "callkeeper/other_days"

Settings = TypeVar("Settings", bound=dg.Config)


def log_verdicts(
    context: dg.AssetExecutionContext,
    verdicts: Sequence[tuple[dg.AssetCheckKey, date, dg.AssetCheckResult]],
) -> None:
    """Log what checks say of days, each for the newest materialization of its day: log that before.

    A result's own asset and day are not asked for: they are beside it.
    """
    if not verdicts:
        return
    storage = context.instance.event_log_storage
    days = {day.isoformat() for _, day, _ in verdicts}
    newest = {
        key: storage.get_latest_storage_id_by_partition(
            key, dg.DagsterEventType.ASSET_MATERIALIZATION, days
        )
        for key in {check.asset_key for check, _, _ in verdicts}
    }
    evaluations = [
        _build_evaluation(context, check, day, result, newest[check.asset_key].get(day.isoformat()))
        for check, day, result in verdicts
    ]
    store_step_events(context, ((each, _describe_evaluation(each)) for each in evaluations))


def log_materializations(
    context: dg.AssetExecutionContext, key: dg.AssetKey, days: Mapping[date, Mapping[str, Any]]
) -> None:
    """Log that days of an asset were made, with their metadata."""
    made = [
        dg.AssetMaterialization(asset_key=key, partition=day.isoformat(), metadata=metadata)
        for day, metadata in days.items()
    ]
    store_step_events(context, ((each, f"Materialized {key.to_user_string()}.") for each in made))


def log_observations(
    context: dg.AssetExecutionContext, key: dg.AssetKey, days: Mapping[date, Mapping[str, Any]]
) -> None:
    """Log what is known of days of an asset that this run did not make."""
    seen = [
        dg.AssetObservation(asset_key=key, partition=day.isoformat(), metadata=metadata)
        for day, metadata in days.items()
    ]
    store_step_events(context, ((each, f"Observed {key.to_user_string()}.") for each in seen))


def _build_evaluation(
    context: dg.AssetExecutionContext,
    check: dg.AssetCheckKey,
    day: date,
    result: dg.AssetCheckResult,
    materialization: int | None,
) -> dg.AssetCheckEvaluation:
    """Build a result for a day, of the materialization with that number in the event log."""
    return dg.AssetCheckEvaluation(
        asset_key=check.asset_key,
        check_name=check.name,
        partition=day.isoformat(),
        passed=result.passed,
        severity=result.severity,
        description=result.description or None,
        metadata=result.metadata,
        target_materialization_data=(
            None
            if materialization is None
            else name_checked_materialization(context, materialization)
        ),
    )


def _describe_evaluation(evaluation: dg.AssetCheckEvaluation) -> str:
    outcome = "passed" if evaluation.passed else "did not pass"
    return (
        f"Asset check '{evaluation.check_name}' on '{evaluation.asset_key.to_user_string()}' "
        f"{outcome} for {evaluation.partition}."
    )


def describe_counts(*counts: RowCounts) -> dict[str, int]:
    """Return what changed in an asset's day: rows, of all its tables together."""
    return {
        "rows_added": sum(one.added for one in counts),
        "rows_updated": sum(one.updated for one in counts),
        "rows_deleted": sum(one.deleted for one in counts),
    }


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


class LoadConfig(dg.Config):
    """Settings of one load."""

    force: bool = Field(
        default=False,
        description=(
            "Replace a day also if it comes back empty, or would lose so many of its calls "
            "that the guard refuses it."
        ),
    )


class ReconciliationConfig(LoadConfig):
    """Settings of one reconciliation."""

    dry_run: bool = Field(
        default=False,
        description="Compare and say what differs, but change neither tables nor raw calls.",
    )


class RetentionConfig(dg.Config):
    """Settings of one retention."""

    dry_run: bool = Field(
        default=False, description="Say what would be deleted, and delete nothing."
    )


class ProtectionConfig(dg.Config):
    """Settings of one application of the privacy settings."""

    dry_run: bool = Field(
        default=False, description="Say what would be rewritten, and change nothing."
    )


class ExportConfig(dg.Config):
    """Settings of one export; never a phone number: it would stay in Dagster's storage."""

    request: str = Field(
        description=(
            "The name of the request, no phone number. The number stands in the file "
            "requests/<name> of the home, readable by its owner alone; it is removed afterwards."
        ),
    )


class ForgetConfig(ExportConfig):
    """Settings of one request to forget a client; never a phone number."""

    request: str = Field(
        description=(
            "The name of the request, no phone number. The number stands in the file "
            "requests/<name> of the home, readable by its owner alone; it is removed afterwards. "
            "Without the file a request of `callkeeper erasures` is verified again."
        ),
    )
    reference: str = Field(
        default="", description="On whose word, such as: request 17 of 2026-11-20."
    )
    dry_run: bool = Field(default=False, description="Say what would be erased, change nothing.")


LOAD_SCHEMA: Final = LoadConfig.to_fields_dict()
RECONCILIATION_SCHEMA: Final = ReconciliationConfig.to_fields_dict()
RETENTION_SCHEMA: Final = RetentionConfig.to_fields_dict()
PROTECTION_SCHEMA: Final = ProtectionConfig.to_fields_dict()
EXPORT_SCHEMA: Final = ExportConfig.to_fields_dict()
FORGET_SCHEMA: Final = ForgetConfig.to_fields_dict()


def read_config(context: dg.AssetExecutionContext, kind: type[Settings]) -> Settings:
    """Return what was set for the run of a step whose schema is the kind's."""
    return kind(**context.op_execution_context.op_config)
