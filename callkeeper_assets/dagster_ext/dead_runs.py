"""Finds runs whose process is gone, marks them as failed and frees what they held.

Run as a program it does so once, before Dagster's daemon starts under `dev`: dead runs would hold
their keys' places. It makes Dagster's tables, if they are missing, and prints what it ended.
"""

import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

import dagster as dg
from dagster._core.run_coordinator import QueuedRunCoordinator

from callkeeper_assets.postgres.locks import is_run_alive, tried_run_lock_alone
from callkeeper_assets.postgres.url import database_url

# Names the source of a run of this product.
SOURCE_TAG: Final = "callkeeper/source"
# Set on a run that a person waits for, and which no daemon could run again.
COMMAND_LINE_TAG: Final = "callkeeper/started_by"
# Set on a run whose sensor starts the next one by itself, if it has not done all.
INBOX_TAG: Final = "callkeeper/inbox"

_IN_PROGRESS: Final = [
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.CANCELING,
]
# From a run's making to the queue it takes an instant, unless the database fails in it.
_UNTIL_QUEUED: Final = timedelta(minutes=2)
FORGOTTEN: Final = "This run was made, and never came to the queue: the database failed between."
# From a run's launch to its start: a process's start, on a busy machine. Less than the
# `start_timeout_seconds` of dagster.yaml: runs that Dagster gives up are not run again.
_UNTIL_START: Final = timedelta(minutes=2)
GONE: Final = "The process of this run is gone: it was killed, or the machine went down."
# Dagster runs a failed run again if its tags say so, and dagster.yaml says that no other is. It
# counts the runs that came of one, so that a second loss is the last.
_MOST_RETRIES: Final = "dagster/max_retries"
# From the beginning: what was stored is found, and costs little.
_AGAIN: Final[Mapping[str, str]] = {
    _MOST_RETRIES: "1",
    "dagster/retry_strategy": "ALL_STEPS",
}
# Set by Dagster on a run that it runs again: which try it is, but for the first.
_RETRY_NUMBER: Final = "dagster/retry_number"


def holds_run_locks(instance: dg.DagsterInstance) -> bool:
    """Whether a run of this instance holds a lock from its start to its end.

    Without our storage it does so in its steps alone: between them it would be taken for dead.
    """
    return bool(getattr(instance.run_storage, "holds_run_locks", False))


def mark_dead_runs(instance: dg.DagsterInstance, url: str) -> list[str]:
    """Mark dead runs of this product as failed; free their pools' slots.

    One that somebody was cancelling is marked as cancelled. Runs of other code locations on the
    same instance are not touched.

    Returns:
        Their ids; none where runs hold no locks.
    """
    if not holds_run_locks(instance):
        return []
    runs = instance.get_runs(dg.RunsFilter(statuses=_IN_PROGRESS))
    # Dagster's filter finds a tag's values, not its presence.
    return [
        run.run_id for run in runs if SOURCE_TAG in run.tags and mark_if_dead(instance, url, run)
    ]


def build_rerun_tags(run: dg.DagsterRun) -> dict[str, str]:
    """Return the tags by which Dagster's daemon runs a lost run again; none if it shall not."""
    if SOURCE_TAG not in run.tags or {COMMAND_LINE_TAG, INBOX_TAG} & run.tags.keys():
        return {}
    return dict(_AGAIN)


def build_handover_tags(run: dg.DagsterRun) -> dict[str, str]:
    """Return the same for a run that is stopped with its machine or service.

    That is no loss: it is run again however often it happens.
    """
    tags = build_rerun_tags(run)
    if tags:
        tags[_MOST_RETRIES] = str(int(run.tags.get(_RETRY_NUMBER, "0")) + 1)
    return tags


def _find_resender(instance: dg.DagsterInstance) -> Callable[[dg.DagsterRun], bool] | None:
    """Return what the launcher does about a run that no worker has begun; None if it has none."""
    return getattr(instance.run_launcher, "resend_if_lost", None)


def is_run_dead(instance: dg.DagsterInstance, url: str, run: dg.DagsterRun) -> bool:
    """Whether a run that is not finished has no process any more, and gets none."""
    if run.status == dg.DagsterRunStatus.STARTING and _find_resender(instance):
        return False
    return _needs_process(instance, run) and not is_run_alive(url, run.run_id)


def _needs_process(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether a run is dead if it has no lock; one that is queued, or just launched, is not.

    Where runs hold their lock in steps alone, one is given as long to come to a step.
    """
    if run.status not in _IN_PROGRESS:
        return False
    if run.status != dg.DagsterRunStatus.STARTING and holds_run_locks(instance):
        return True
    launched = instance.get_run_stats(run.run_id).launch_time
    return launched is not None and time.time() - launched > _UNTIL_START.total_seconds()


def mark_if_dead(instance: dg.DagsterInstance, url: str, run: dg.DagsterRun) -> bool:
    """Mark a run as failed, or as cancelled, if its process is gone; return whether it was.

    One that waits for a worker is launched again, if nobody knows of it any more.
    """
    if not _needs_process(instance, run):
        return False
    # Held until it is marked: a process that comes late must see that, and not start.
    with tried_run_lock_alone(url, run.run_id) as is_gone:
        # It may have ended, properly, since it was listed.
        now = instance.get_run_by_id(run.run_id) if is_gone else None
        if now is None or now.status not in _IN_PROGRESS:
            return False
        if now.status == dg.DagsterRunStatus.STARTING and (resend := _find_resender(instance)):
            resend(now)
            return False
        report_gone(instance, now)
    return True


def queue_forgotten_runs(instance: dg.DagsterInstance) -> list[str]:
    """Put runs of this product into the queue that were made, and never came there; return them.

    Dagster makes a run and queues it in two steps. It goes on with a tick that was cut off between,
    but not with a lost run that it does again: that one would wait for ever.
    """
    if not isinstance(instance.run_coordinator, QueuedRunCoordinator):
        return []
    before = datetime.now(UTC) - _UNTIL_QUEUED
    waiting = instance.get_runs(
        dg.RunsFilter(statuses=[dg.DagsterRunStatus.NOT_STARTED], created_before=before)
    )
    # A person's own are begun by the command that made them, as those that came from no daemon.
    ours = [
        one
        for one in waiting
        if SOURCE_TAG in one.tags and COMMAND_LINE_TAG not in one.tags and one.remote_job_origin
    ]
    for run in ours:
        queue_run(instance, run, FORGOTTEN)
    return [run.run_id for run in ours]


def queue_run(instance: dg.DagsterInstance, run: dg.DagsterRun, why: str) -> None:
    """Put a run into Dagster's queue, whatever its status is."""
    instance.report_engine_event(why, run)
    event = dg.DagsterEvent(dg.DagsterEventType.PIPELINE_ENQUEUED.value, run.job_name)
    instance.report_dagster_event(event, run_id=run.run_id)


def report_gone(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    """Mark a run whose process is known to be gone, and free what it held; it may be run again."""
    # In this order: marking that is itself killed in between is done again.
    instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
    if run.status == dg.DagsterRunStatus.CANCELING:
        instance.report_run_canceled(run, GONE)
        return
    instance.add_run_tags(run.run_id, build_rerun_tags(run))
    instance.report_run_failed(run, GONE)


def free_ended_runs(instance: dg.DagsterInstance, url: str, pool: str | None = None) -> None:
    """Free what runs hold of pools although they have ended, and their processes as well.

    An end frees it by itself, unless a process lived on: of a run that somebody marked as ended.

    Args:
        instance: Dagster's.
        url: Of the database.
        pool: Only this one; None stands for all.
    """
    storage = instance.event_log_storage
    if pool is None:
        holders = storage.get_concurrency_run_ids()
    else:
        info = storage.get_concurrency_info(pool)
        holders = info.active_run_ids | {step.run_id for step in info.pending_steps}
    for run_id in holders:
        run = instance.get_run_by_id(run_id)
        if (run is None or run.is_finished) and not is_run_alive(url, run_id):
            storage.free_concurrency_slots_for_run(run_id)


def main() -> None:
    """Prepare Dagster's instance."""
    with dg.DagsterInstance.get() as instance:
        for run_id in mark_dead_runs(instance, database_url()):
            sys.stdout.write(f"Marked as failed, its process was gone: run {run_id}\n")


if __name__ == "__main__":
    main()
