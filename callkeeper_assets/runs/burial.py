"""Finds runs whose process is gone, marks them as failed and frees what they held.

Only runs that have been seen alive can be told dead by their lock: those started from the command
line hold it from before their creation, others from their first step on, so they are left a while.
"""

import time
from datetime import timedelta
from typing import Final

import dagster as dg

from callkeeper_assets.runs.lock import is_run_alive

# Names the source of a run of this product.
SOURCE_TAG: Final = "callkeeper/source"
# Set on a run whose process takes the run's lock before the run exists.
COMMAND_LINE_TAG: Final = "callkeeper/started_by"

_IN_PROGRESS: Final = [
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.CANCELING,
]
# From a run's start to its first step: a process's start, and a wait for the database at worst.
_UNTIL_FIRST_STEP: Final = timedelta(minutes=2)


def bury_dead_runs(instance: dg.DagsterInstance, url: str) -> list[str]:
    """Mark dead runs of this product as failed; free their pools' slots.

    Runs of other code locations on the same instance are not touched.

    Returns:
        Their ids.
    """
    buried = []
    for record in instance.get_run_records(dg.RunsFilter(statuses=_IN_PROGRESS)):
        run = record.dagster_run
        # Dagster's filter finds a tag's values, not its presence.
        if SOURCE_TAG not in run.tags:
            continue
        is_from_command_line = COMMAND_LINE_TAG in run.tags
        age = time.time() - (record.start_time or record.create_timestamp.timestamp())
        if not is_from_command_line and age < _UNTIL_FIRST_STEP.total_seconds():
            continue
        if is_run_alive(url, run.run_id):
            continue
        # In this order: a burial that is itself killed in between is done again.
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
        instance.report_run_failed(
            run, "The process of this run is gone: it was killed, or the machine went down."
        )
        buried.append(run.run_id)
    return buried


def free_ended_runs(instance: dg.DagsterInstance, url: str, pool: str) -> None:
    """Free what runs hold of a pool although they have ended.

    A run that is interrupted between its steps fails in good order and still holds its key; only
    Dagster's daemon would free it, and loads from the command line need none.
    """
    storage = instance.event_log_storage
    info = storage.get_concurrency_info(pool)
    for run_id in info.active_run_ids | {step.run_id for step in info.pending_steps}:
        run = instance.get_run_by_id(run_id)
        if (run is None or run.is_finished) and not is_run_alive(url, run_id):
            storage.free_concurrency_slots_for_run(run_id)
