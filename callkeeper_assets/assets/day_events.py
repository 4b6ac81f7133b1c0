"""Events of single days, as events of a run for many: Dagster's own results have no partition.

A ranged run would store a check's result for no day, and one materialization for all of its days.
Written in batches: one by one, those of a year would take longer than its load.
"""

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple

import dagster as dg

# Not exported, and without it Dagster's UI takes a day's result for outdated.
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData as TargetMaterialization,
)

# Not exported either: what an event of the kind carries.
from dagster._core.events import AssetObservationData, StepMaterializationData


@dataclass(frozen=True)
class Verdict:
    """What a check says of one day."""

    passed: bool
    text: str
    metadata: Mapping[str, Any]
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR


class DayVerdict(NamedTuple):
    """A check's verdict on a day."""

    check: dg.AssetCheckKey
    day: date
    verdict: Verdict


def log_verdicts(context: dg.AssetExecutionContext, verdicts: Sequence[DayVerdict]) -> None:
    """Log verdicts, each for the newest materialization of its day: log that before."""
    if not verdicts:
        return
    storage = context.instance.event_log_storage
    days = {one.day.isoformat() for one in verdicts}
    newest = {
        key: storage.get_latest_storage_id_by_partition(
            key, dg.DagsterEventType.ASSET_MATERIALIZATION, days
        )
        for key in {one.check.asset_key for one in verdicts}
    }
    evaluations = [
        _build_evaluation(
            one,
            _build_target(context, newest[one.check.asset_key].get(one.day.isoformat())),
        )
        for one in verdicts
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
    one: DayVerdict, target: TargetMaterialization | None
) -> dg.AssetCheckEvaluation:
    return dg.AssetCheckEvaluation(
        asset_key=one.check.asset_key,
        check_name=one.check.name,
        partition=one.day.isoformat(),
        passed=one.verdict.passed,
        severity=one.verdict.severity,
        description=one.verdict.text or None,
        metadata=one.verdict.metadata,
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
