"""Puts a source's assets, checks, jobs and schedules together, and what all sources share.

Of all sources are the job that prunes Dagster's event log and the sensor for dead runs, too.
"""

import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Final

import dagster as dg

from callkeeper_assets.assets.jobs import build_jobs, name_refresh_job
from callkeeper_assets.assets.personal_data import (
    ListSources,
    build_client_jobs,
    build_protection,
    load_all_sources,
)
from callkeeper_assets.assets.raw_calls import build_raw_calls
from callkeeper_assets.assets.reconciliation import (
    build_reconciliation,
    build_reconciliation_job,
    name_reconciliation_job,
)
from callkeeper_assets.assets.reports import build_report_jobs, build_reports, name_report_job
from callkeeper_assets.assets.retention import (
    build_retention,
    build_retention_job,
    name_retention_job,
)
from callkeeper_assets.assets.tables import build_tables
from callkeeper_assets.assets.watch import build_watch, build_watch_checks
from callkeeper_assets.assets.webhooks import (
    INBOX_JOB,
    build_webhook_audit,
    build_webhook_calls,
    build_webhook_check,
    build_webhook_inbox,
    has_webhook_check,
)
from callkeeper_assets.config.errors import ConfigError
from callkeeper_assets.config.loading import BrokenSource, suggest_source_name
from callkeeper_assets.config.source import Source
from callkeeper_assets.dagster_ext.dead_runs import (
    free_ended_runs,
    holds_run_locks,
    mark_dead_runs,
    queue_forgotten_runs,
)
from callkeeper_assets.dagster_ext.event_log import BatchingEventLogStorage, has_runs_in_database
from callkeeper_assets.postgres.keeping import kept_connection
from callkeeper_assets.postgres.url import database_url
from callkeeper_assets.warehouse.schema import CALLS

NAME: Final = "event_log_pruning"
# What holds where the environment says nothing.
_LOG_DAYS: Final = 90
_WEBHOOK_RUN_DAYS: Final = 14
_RUNS_AT_ONCE: Final = 100
_ENDED: Final = [
    dg.DagsterRunStatus.SUCCESS,
    dg.DagsterRunStatus.FAILURE,
    dg.DagsterRunStatus.CANCELED,
]

_NO_RUN_LOCKS: Final = (
    "Nothing is looked for: Dagster's storage here is not callkeeper's, and without it no run's "
    "process can be told to be gone. run_monitoring in dagster.yaml ends runs that take too long; "
    "docs/dagster-projects.md says how to get the rest."
)


@contextmanager
def _without_known_warnings() -> Iterator[None]:
    """Build without two warnings of Dagster's; those of others stay as they are.

    Both parts are used on purpose: a check's days, one run for many days.
    """
    with warnings.catch_warnings():
        for text, kind in (
            (".*partitions_def on an AssetCheckSpec", dg.PreviewWarning),
            (".*`backfill_policy`", dg.BetaWarning),
        ):
            warnings.filterwarnings("ignore", message=text, category=kind)
        yield


@_without_known_warnings()
def build_source_definitions(source: Source) -> dg.Definitions:
    """Build everything of one source."""
    assets = [build_raw_calls(source), build_tables(source)]
    checks = [build_watch_checks(source)]
    parts = [build_jobs(source), build_protection(source)]
    # Without calls in the tables there is nothing to compare.
    if CALLS in source.tables:
        assets.append(build_reconciliation(source))
        parts.append(build_reconciliation_job(source))
    if source.has_webhook_audit:
        assets.append(build_webhook_audit(source))
    if has_webhook_check(source):
        checks.append(build_webhook_check(source))
    if source.reports:
        assets.append(build_reports(source))
        parts.append(build_report_jobs(source))
    if source.retention:
        assets.append(build_retention(source))
        parts.append(build_retention_job(source))
    return dg.Definitions.merge(
        dg.Definitions(assets=_translated(assets, [source]), asset_checks=checks), *parts
    )


def _translated(
    assets: Sequence[dg.AssetsDefinition], sources: Sequence[Source]
) -> Sequence[dg.AssetsDefinition]:
    for source in sources:
        if source.change_spec:
            assets = dg.map_asset_specs(source.change_spec, assets)
    return assets


@_without_known_warnings()
def build_webhook_assets(sources: Sequence[Source], prefix: str = "") -> dg.Definitions:
    """Build the assets of what comes by webhooks, of those sources that take any."""
    takers = [source for source in sources if source.webhook]
    if not takers:
        return dg.Definitions()
    return dg.Definitions(assets=_translated([build_webhook_calls(takers, prefix)], takers))


@_without_known_warnings()
def build_shared_definitions(
    sources: Sequence[Source], *, prefix: str = "", list_sources: ListSources = load_all_sources
) -> dg.Definitions:
    """Build what there is once: the jobs and sensors of all sources.

    Args:
        sources: All of them.
        prefix: What each name begins with.
        list_sources: Gives all of them when a client is looked for; else they are read anew then.
    """
    takers = [source for source in sources if source.webhook]
    return dg.Definitions.merge(
        dg.Definitions(sensors=[build_janitor(prefix), build_watch(sources, prefix)]),
        build_event_log_pruning(prefix, sources),
        build_client_jobs(list_sources, prefix),
        build_webhook_assets(takers, prefix),
        build_webhook_inbox(takers, prefix) if takers else dg.Definitions(),
    )


def name_schedules(stem: str, reports: Iterable[str] = ()) -> set[str]:
    """Name the schedules that a source may have, by its stem and the names of its reports."""
    return {
        name_refresh_job(stem),
        name_reconciliation_job(stem),
        name_retention_job(stem),
        *(name_report_job(stem, report) for report in reports),
    }


def build_error_asset(broken: BrokenSource) -> dg.AssetSpec:
    """Build what stands in the asset graph for a source that is refused."""
    problems = "\n".join(f"- {problem}" for problem in broken.problems)
    return dg.AssetSpec(
        key=[broken.name, "configuration_error"],
        group_name=suggest_source_name(broken.name),
        description=(
            f"**{broken.name} is not loaded**: its defs.yaml is refused.\n\n{problems}\n\n"
            "Correct the file, then reload the code location."
        ),
        kinds={"yaml"},
        tags={"callkeeper/error": "configuration"},
        metadata={"file": dg.MetadataValue.path(str(broken.file))},
    )


def build_event_log_pruning(prefix: str = "", sources: Sequence[Source] = ()) -> dg.Definitions:
    """Build the job and its schedule, which runs from the start on.

    Args:
        prefix: What each name begins with.
        sources: Of whose assets what was replaced is deleted.
    """

    @dg.op(
        # Not the job's name: Dagster takes both for one.
        name=f"{prefix}prune_event_log",
        description=(
            "Deletes runs that merged webhooks after CALLKEEPER_WEBHOOK_RUN_DAYS days "
            f"({_WEBHOOK_RUN_DAYS} unless set), and what other runs logged after "
            f"CALLKEEPER_RUN_LOG_DAYS ({_LOG_DAYS}), with what newer runs of a day have replaced. "
            "Days that are materialized stay so, with the newest results of their checks."
        ),
    )
    def prune(context: dg.OpExecutionContext) -> None:
        try:
            log_days, run_days = _read_settings()
        except ConfigError as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        now = datetime.now(UTC)
        runs = _delete_webhook_runs(
            context.instance, f"{prefix}{INBOX_JOB}", now - timedelta(days=run_days)
        )
        logged, replaced = _delete_logs(context.instance, sources, now - timedelta(days=log_days))
        context.log.info(
            "%d runs that merged webhooks are deleted, %d rows that other runs logged, and %d that "
            "newer ones have replaced.",
            runs,
            logged,
            replaced,
        )

    @dg.job(name=f"{prefix}{NAME}", description="Keeps Dagster's event log from growing for ever.")
    def event_log_pruning() -> None:
        prune()

    schedule = dg.ScheduleDefinition(
        name=f"{prefix}{NAME}",
        job=event_log_pruning,
        cron_schedule="40 3 * * *",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Deletes old runs that merged webhooks, old logs, replaced events: 03:40 UTC.",
    )
    return dg.Definitions(jobs=[event_log_pruning], schedules=[schedule])


def _read_settings() -> tuple[int, int]:
    """Return after how many days logs go, and runs that merged webhooks.

    Raises:
        ConfigError: One is no whole number, or none that makes sense.
    """
    log_days = os.environ.get("CALLKEEPER_RUN_LOG_DAYS", "")
    run_days = os.environ.get("CALLKEEPER_WEBHOOK_RUN_DAYS", "")
    return (
        _read_days("CALLKEEPER_RUN_LOG_DAYS", log_days, _LOG_DAYS),
        _read_days("CALLKEEPER_WEBHOOK_RUN_DAYS", run_days, _WEBHOOK_RUN_DAYS),
    )


def _read_days(variable: str, value: str, default: int) -> int:
    text = value.strip()
    if not text:
        return default
    if not text.isdecimal() or not 1 <= int(text) <= 36_500:  # noqa: PLR2004 -- a century
        raise ConfigError(f"{variable} must be a number of days, from 1 to 36500.")
    return int(text)


def _delete_webhook_runs(instance: dg.DagsterInstance, job: str, before: datetime) -> int:
    deleted = 0
    # Dagster+ keeps runs itself, and refuses to have any deleted.
    if not has_runs_in_database(instance):
        return deleted
    while True:
        records = instance.get_run_records(
            dg.RunsFilter(job_name=job, statuses=_ENDED, created_before=before),
            limit=_RUNS_AT_ONCE,
        )
        for record in records:
            instance.delete_run(record.dagster_run.run_id)
        deleted += len(records)
        if len(records) < _RUNS_AT_ONCE:
            return deleted


def _delete_logs(
    instance: dg.DagsterInstance, sources: Sequence[Source], before: datetime
) -> tuple[int, int]:
    """Return how many rows of logs are deleted, and how many that were replaced."""
    storage = instance.event_log_storage
    # Another storage is a test's, or the user's own to look after.
    if not isinstance(storage, BatchingEventLogStorage):
        return 0, 0
    keys = [(source.folder, source.keys.values()) for source in sources]
    return sum(storage.delete_details(before)), sum(storage.delete_superseded(keys, before))


def build_janitor(prefix: str = "") -> dg.SensorDefinition:
    """Build the sensor; it runs from the start on."""

    @dg.sensor(
        name=f"{prefix}run_janitor",
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            "Marks runs as failed whose process is gone (a kill, a power failure), and frees "
            "the API keys that they held. Dagster's daemon runs them again, once."
        ),
    )
    @kept_connection()
    def run_janitor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        if not holds_run_locks(context.instance):
            return dg.SkipReason(_NO_RUN_LOCKS)
        url = database_url()
        marked = mark_dead_runs(context.instance, url)
        free_ended_runs(context.instance, url)
        queued = queue_forgotten_runs(context.instance)
        said = []
        if marked:
            said.append(f"Marked as failed, their process was gone: {', '.join(marked)}.")
        if queued:
            said.append(f"Made, and not queued until now: {', '.join(queued)}.")
        return dg.SkipReason(" ".join(said) or "Every run in progress is alive.")

    return run_janitor
