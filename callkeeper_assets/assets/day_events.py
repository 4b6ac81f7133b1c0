"""Events of single days, as events of a run for many: Dagster's own results have no partition.

A ranged run would store a check's result for no day, and one materialization for all of its days.
Written in batches: one by one, those of a year would take longer than its load.
"""

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

import dagster as dg

# Not exported, and without it Dagster's UI takes a day's result for outdated.
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData as TargetMaterialization,
)

# Not exported either: what an event of the kind carries.
from dagster._core.events import AssetObservationData, StepMaterializationData


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
        _build_evaluation(
            check,
            day,
            result,
            _build_target(context, newest[check.asset_key].get(day.isoformat())),
        )
        for check, day, result in verdicts
    ]
    _store(
        context,
        dg.DagsterEventType.ASSET_CHECK_EVALUATION,
        ((each, _describe_evaluation(each)) for each in evaluations),
    )


def log_materializations(
    context: dg.AssetExecutionContext, key: dg.AssetKey, days: Mapping[date, Mapping[str, Any]]
) -> None:
    """Log that days of an asset were made, with their metadata."""
    made = [
        dg.AssetMaterialization(asset_key=key, partition=day.isoformat(), metadata=metadata)
        for day, metadata in days.items()
    ]
    _store(
        context,
        dg.DagsterEventType.ASSET_MATERIALIZATION,
        ((StepMaterializationData(each), f"Materialized {key.to_user_string()}.") for each in made),
    )


def log_observations(
    context: dg.AssetExecutionContext, key: dg.AssetKey, days: Mapping[date, Mapping[str, Any]]
) -> None:
    """Log what is known of days of an asset that this run did not make."""
    seen = [
        dg.AssetObservation(asset_key=key, partition=day.isoformat(), metadata=metadata)
        for day, metadata in days.items()
    ]
    _store(
        context,
        dg.DagsterEventType.ASSET_OBSERVATION,
        ((AssetObservationData(each), f"Observed {key.to_user_string()}.") for each in seen),
    )


def _build_target(
    context: dg.AssetExecutionContext, storage_id: int | None
) -> TargetMaterialization | None:
    if storage_id is None:
        return None
    return TargetMaterialization(
        storage_id=storage_id, run_id=context.run.run_id, timestamp=time.time()
    )


def _build_evaluation(
    check: dg.AssetCheckKey,
    day: date,
    result: dg.AssetCheckResult,
    target: TargetMaterialization | None,
) -> dg.AssetCheckEvaluation:
    return dg.AssetCheckEvaluation(
        asset_key=check.asset_key,
        check_name=check.name,
        partition=day.isoformat(),
        passed=result.passed,
        severity=result.severity,
        description=result.description or None,
        metadata=result.metadata,
        target_materialization_data=target,
    )


def _describe_evaluation(evaluation: dg.AssetCheckEvaluation) -> str:
    outcome = "passed" if evaluation.passed else "did not pass"
    return (
        f"Asset check '{evaluation.check_name}' on '{evaluation.asset_key.to_user_string()}' "
        f"{outcome} for {evaluation.partition}."
    )


def _store(
    context: dg.AssetExecutionContext,
    kind: dg.DagsterEventType,
    events: "Iterable[tuple[Any, str]]",
) -> None:
    """Store events of one kind, each with its message, as `context.log_event` would build them."""
    step_key = context.get_step_execution_context().step.key
    entries = [
        dg.EventLogEntry(  # type: ignore[no-untyped-call]
            error_info=None,
            level=logging.INFO,
            user_message="",
            run_id=context.run.run_id,
            timestamp=time.time(),
            step_key=step_key,
            job_name=context.job_name,
            dagster_event=dg.DagsterEvent(
                event_type_value=kind.value,
                job_name=context.job_name,
                step_key=step_key,
                message=message,
                event_specific_data=data,
            ),
        )
        for data, message in events
    ]
    if entries:
        context.instance.event_log_storage.store_event_batch(entries)
