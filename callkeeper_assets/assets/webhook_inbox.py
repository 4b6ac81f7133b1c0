"""The sensor `webhook_inbox`: starts a run for all that waits in the inbox, at most one a tick.

And a source's refresh for the days on which webhooks of call tracking hint at calls. It looks and
counts; `webhooks.plans` decides. A tick that starts nothing says why.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import dagster as dg

from callkeeper_assets.assets.days import build_range_tags
from callkeeper_assets.assets.jobs import build_refresh_job, name_refresh_job
from callkeeper_assets.assets.webhooks import webhook_calls_key
from callkeeper_assets.config.source import Source
from callkeeper_assets.dagster_ext.dead_runs import INBOX_TAG, SOURCE_TAG, is_run_dead
from callkeeper_assets.postgres.url import database_url
from callkeeper_assets.webhooks.plans import (
    HintPlan,
    HintRun,
    InboxCursor,
    InboxPlan,
    plan_hint_runs,
    plan_inbox_run,
    read_cursor,
    write_cursor,
)

INBOX_JOB: Final = "webhook_inbox"
_INTERVAL_SEC: Final = 10

_UNDER_WAY: Final = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def build_webhook_inbox(sources: Sequence[Source]) -> dg.Definitions:
    """Build the job and the sensor over these sources' webhook calls."""
    job = dg.define_asset_job(
        INBOX_JOB,
        selection=dg.AssetSelection.assets(*(webhook_calls_key(source) for source in sources)),
        description="Merges the webhooks that wait in the inbox into the tables, of all sources.",
    )
    names = {source.name: source for source in sources}
    hinted = [source for source in sources if source.takes_hints]

    @dg.sensor(
        name=INBOX_JOB,
        jobs=[job, *map(build_refresh_job, hinted)],
        minimum_interval_seconds=_INTERVAL_SEC,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            "Looks every 10 s for webhooks that wait, and starts one run for all of them; where "
            "those of call tracking hint at calls, the source's refresh for their days."
        ),
    )
    def webhook_inbox(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        # The database's driver, which loading the code location need not pay for.
        from callkeeper_assets.warehouse.migrate import ensure_schema  # noqa: PLC0415

        url = database_url()
        ensure_schema(url)
        cursor = read_cursor(context.cursor)
        inbox = _plan_inbox(context.instance, url, names, cursor)
        hints = _plan_hints(context.instance, url, hinted, cursor)
        requests = [_request_refresh(run) for run in hints.runs]
        if inbox.sources:
            requests.append(_request_inbox_run(inbox, names))
        text = " ".join(filter(None, (inbox.text, hints.text)))
        after = write_cursor(InboxCursor(inbox.attempts, hints.attempts))
        if not requests:
            return dg.SensorResult(skip_reason=text, cursor=after)
        context.log.info(text)
        return dg.SensorResult(run_requests=requests, cursor=after)

    return dg.Definitions(jobs=[job], sensors=[webhook_inbox])


def _plan_inbox(
    instance: dg.DagsterInstance, url: str, names: Collection[str], cursor: InboxCursor
) -> InboxPlan:
    from callkeeper_assets.webhooks.inbox_queries import list_waiting  # noqa: PLC0415

    return plan_inbox_run(
        list_waiting(url),
        loaded=names,
        running=_find_running(instance, url, INBOX_JOB),
        cursor=cursor,
        now=datetime.now(UTC),
    )


def _plan_hints(
    instance: dg.DagsterInstance, url: str, sources: Sequence[Source], cursor: InboxCursor
) -> HintPlan:
    from callkeeper_assets.webhooks.inbox_queries import list_hinted_days  # noqa: PLC0415

    days = list_hinted_days(url)
    takers = {source.name for source in sources}
    return plan_hint_runs(
        days,
        takers=takers,
        running={
            name
            for name in {one.source for one in days} & takers
            if _find_running(instance, url, name_refresh_job(name))
        },
        attempts=cursor.hints,
        now=datetime.now(UTC),
    )


def _request_inbox_run(plan: InboxPlan, names: Mapping[str, Source]) -> dg.RunRequest:
    return dg.RunRequest(
        job_name=INBOX_JOB,
        asset_selection=[webhook_calls_key(names[name]) for name in plan.sources],
        tags={SOURCE_TAG: ", ".join(plan.sources), INBOX_TAG: plan.text},
    )


def _request_refresh(run: HintRun) -> dg.RunRequest:
    return dg.RunRequest(
        run_key=run.key,
        job_name=name_refresh_job(run.source),
        tags={SOURCE_TAG: run.source, **build_range_tags(run.days.first, run.days.last)},
    )


def _find_running(instance: dg.DagsterInstance, url: str, job: str) -> str | None:
    """Return a job's run that is under way, or soon will be."""
    for run in instance.get_runs(dg.RunsFilter(job_name=job, statuses=_UNDER_WAY)):
        if not is_run_dead(instance, url, run):
            return run.run_id
    return None
