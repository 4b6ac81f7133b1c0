"""The sensor `webhook_inbox`: starts a run for all that waits in the inbox, at most one a tick.

It looks and counts; `runs.inbox_plan` decides. A tick that starts nothing says why.
"""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import dagster as dg

from callkeeper_assets.assets.webhook_calls import webhook_calls_key
from callkeeper_assets.config.source import Source
from callkeeper_assets.database.url import database_url
from callkeeper_assets.runs.burial import SOURCE_TAG
from callkeeper_assets.runs.inbox_plan import plan_inbox_run, read_cursor, write_cursor
from callkeeper_assets.runs.lock import is_run_alive

NAME: Final = "webhook_inbox"
_INTERVAL_SEC: Final = 10

_UNDER_WAY: Final = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
# Without its lock a run is taken for dead so long after its creation: the queue's turn and a
# process's start come first. Or so long after its start, when its first step has to take the lock.
# Another run beside one that is slower only finds nothing left to do.
_UNTIL_START_SEC: Final = 60
_UNTIL_LOCK_SEC: Final = 15


def build_webhook_inbox(sources: Sequence[Source]) -> dg.Definitions:
    """Build the job and the sensor over these sources' webhook calls."""
    job = dg.define_asset_job(
        NAME,
        selection=dg.AssetSelection.assets(*(webhook_calls_key(source) for source in sources)),
        description="Merges the webhooks that wait in the inbox into the tables, of all sources.",
    )
    names = {source.name: source for source in sources}

    @dg.sensor(
        name=NAME,
        job=job,
        minimum_interval_seconds=_INTERVAL_SEC,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Looks every 10 s for webhooks that wait, and starts one run for all of them.",
    )
    def webhook_inbox(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        # The database's driver, which loading the code location need not pay for.
        from callkeeper_assets.warehouse.migrate import ensure_schema  # noqa: PLC0415
        from callkeeper_assets.webhooks.inbox_queries import list_waiting  # noqa: PLC0415

        url = database_url()
        ensure_schema(url)
        plan = plan_inbox_run(
            list_waiting(url),
            loaded=names,
            running=_find_running(context.instance, url),
            cursor=read_cursor(context.cursor),
            now=datetime.now(UTC),
        )
        if not plan.sources:
            return dg.SensorResult(skip_reason=plan.text, cursor=write_cursor(plan.cursor))
        context.log.info(plan.text)
        request = dg.RunRequest(
            asset_selection=[webhook_calls_key(names[name]) for name in plan.sources],
            tags={SOURCE_TAG: ", ".join(plan.sources), "callkeeper/inbox": plan.text},
        )
        return dg.SensorResult(run_requests=[request], cursor=write_cursor(plan.cursor))

    return dg.Definitions(jobs=[job], sensors=[webhook_inbox])


def _find_running(instance: dg.DagsterInstance, url: str) -> str | None:
    """Return the run that processes payloads, or soon will."""
    for record in instance.get_run_records(dg.RunsFilter(job_name=NAME, statuses=_UNDER_WAY)):
        run_id = record.dagster_run.run_id
        if record.start_time:
            is_young = time.time() - record.start_time < _UNTIL_LOCK_SEC
        else:
            is_young = time.time() - record.create_timestamp.timestamp() < _UNTIL_START_SEC
        if is_young or is_run_alive(url, run_id):
            return run_id
    return None
