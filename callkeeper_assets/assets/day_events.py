"""Events of single days, as events of a run for many: Dagster's own results have no partition.

A ranged run would store a check's result for no day, and one materialization for all of its days.
Written in batches: one by one, those of a year would take longer than its load.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import dagster as dg

from callkeeper_assets.dagster_ext.steps import name_checked_materialization, store_step_events


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
