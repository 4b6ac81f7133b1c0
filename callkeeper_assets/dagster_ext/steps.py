"""What a step says of single days, for which Dagster has no public way.

Its own results have no partition: of a ranged run a check's would be stored for no day, and one
materialization for all days. `context.add_asset_metadata` takes one day, and goes through all that
were said before: for a year of nine tables that is seconds, and four times as many for two years.
"""

import logging
import time
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any, TypeAlias

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData,
)
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from dagster._core.events import AssetObservationData, StepMaterializationData
from dagster._core.execution.context.metadata_logging import (
    AssetMetadataHandle,
    OutputMetadataAccumulator,
)

from callkeeper_assets.dagster_ext.event_log import BatchingEventLogStorage

# What `dg.define_asset_job` returns, which has no public name.
AssetJob: TypeAlias = UnresolvedAssetJobDefinition
# Which materialization a check's result is of, likewise.
CheckedMaterialization: TypeAlias = AssetCheckEvaluationTargetMaterializationData


def name_checked_materialization(
    context: dg.AssetExecutionContext, storage_id: int
) -> CheckedMaterialization:
    """Say which materialization of a day a check's result is of, by its number in the event log.

    The record's type is not exported, and without one the UI takes a day's result for outdated.
    """
    return CheckedMaterialization(
        storage_id=storage_id, run_id=context.run.run_id, timestamp=time.time()
    )


class _NoRemark(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return "did not yield or return expected outputs" not in record.getMessage()


def leave_out_remark(log: logging.Logger) -> None:
    """Have a step end without the remark that its checks' results are missing among its outputs.

    They are stored by day, past Dagster's outputs; who reads the log takes it for an error.
    """
    log.addFilter(_NoRemark())


def store_step_events(
    context: dg.AssetExecutionContext,
    events: Iterable[
        tuple[dg.AssetMaterialization | dg.AssetObservation | dg.AssetCheckEvaluation, str]
    ],
) -> None:
    """Store events of the step, all of one kind, each with its message, in one batch.

    `context.log_event` would store them one by one, which for a year takes longer than its load.
    What an event of a kind carries is not exported, and the step's key is its inner context's.
    """
    step_key = context.get_step_execution_context().step.key
    entries, kind = [], None
    for event, message in events:
        kind, data = _pack_event(event)
        entries.append(
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
        )
    if not entries:
        return
    storage = context.instance.event_log_storage
    if kind == dg.DagsterEventType.ASSET_CHECK_EVALUATION and not isinstance(
        storage, BatchingEventLogStorage
    ):
        # dagster-postgres refuses a batch of these.
        for entry in entries:
            storage.store_event(entry)
    else:
        storage.store_event_batch(entries)


def _pack_event(
    event: dg.AssetMaterialization | dg.AssetObservation | dg.AssetCheckEvaluation,
) -> tuple[dg.DagsterEventType, Any]:
    if isinstance(event, dg.AssetMaterialization):
        return dg.DagsterEventType.ASSET_MATERIALIZATION, StepMaterializationData(event)
    if isinstance(event, dg.AssetObservation):
        return dg.DagsterEventType.ASSET_OBSERVATION, AssetObservationData(event)
    return dg.DagsterEventType.ASSET_CHECK_EVALUATION, event


def add_day_metadata(
    context: dg.AssetExecutionContext,
    key: dg.AssetKey,
    metadata: Mapping[date, Mapping[str, Any]],
) -> None:
    """Add metadata of an asset's days, which must be among those that the step is for.

    What `add_asset_metadata` puts together day by day is an attribute of the step's inner context,
    of a type that is not exported; it is replaced at once by one with all of them.
    """
    step = context.get_step_execution_context()
    said = step._metadata_accumulator  # noqa: SLF001
    step._metadata_accumulator = OutputMetadataAccumulator(  # noqa: SLF001
        per_output_metadata={
            **said.per_output_metadata,
            **{
                AssetMetadataHandle(asset_key=key, partition_key=day.isoformat()): values
                for day, values in metadata.items()
            },
        }
    )
