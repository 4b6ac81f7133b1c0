"""The asset `<source>/retention`: calls older than the source keeps are deleted, from everywhere.

What went is in its metadata, by table, in the load log, and with a dry run before it happens. The
source is not asked for anything, so no key is waited for.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import dagster as dg
from rich import filesize

from callkeeper_assets.assets import progress
from callkeeper_assets.assets.days import RETENTION_SCHEMA, RetentionConfig, read_config
from callkeeper_assets.assets.keys import asset_key
from callkeeper_assets.assets.resources import (
    RETRY_POLICY,
    failing_clearly,
    logging_failure,
    open_store,
    opened_warehouse,
    with_known_signature,
)
from callkeeper_assets.config.source import Source
from callkeeper_assets.dagster_ext.dead_runs import SOURCE_TAG
from callkeeper_assets.dagster_ext.event_log import BatchingEventLogStorage
from callkeeper_assets.home import home
from callkeeper_assets.language import mark
from callkeeper_assets.postgres.locks import held_source_lock
from callkeeper_assets.warehouse.records import Deleted, RetentionResult

NAME: Final = "retention"
EVENT_LOG: Final = mark("Dagster's event log")


def build_retention(source: Source) -> dg.AssetsDefinition:
    """Build the asset of a source with `retention`."""
    assert source.retention is not None  # noqa: S101 -- see above
    keep_days = source.retention.keep_days
    spec = dg.AssetSpec(
        key=asset_key(source, NAME),
        group_name=source.group,
        owners=source.owners,
        description=(
            f"Calls of {source.caption} of more than {keep_days} days before today are deleted: "
            "from the tables, reports, the webhook inbox, raw calls and Dagster's event log."
        ),
        kinds={"postgres"},
        metadata={"keep_days": keep_days},
    )

    @dg.multi_asset(
        name=f"{source.stem}__{NAME}",
        specs=[spec],
        retry_policy=RETRY_POLICY,
        config_schema=RETENTION_SCHEMA,
    )
    @with_known_signature
    def retention(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        return _retain(context, source)

    return retention


def _retain(context: dg.AssetExecutionContext, source: Source) -> dg.MaterializeResult[None]:
    # The database's driver, which loading the code location need not pay for.
    from callkeeper_assets.retention.old_calls import delete_calls  # noqa: PLC0415

    dry_run = read_config(context, RetentionConfig).dry_run
    with (
        failing_clearly(context),
        logging_failure(source, context.run, [source.today()]),
        opened_warehouse(context, source) as url,
        # A process that rewrites calls would bring back a file that was deleted meanwhile.
        held_source_lock(url, source.name),
    ):
        first_kept = source.first_kept_day(source.today())
        assert first_kept is not None  # noqa: S101 -- see above
        retained = delete_calls(
            url,
            source.account,
            first_kept,
            open_store(),
            home() / "spool",
            run_id=context.run.run_id,
            dry_run=dry_run,
            report=lambda done, total: progress.report("deleted", done, total),
        )
        clear_event_log(
            context.instance,
            source.folder,
            retained,
            others=source.keys.values(),
            dry_run=dry_run,
        )
    progress.report_retained(retained)
    if retained.left:
        context.log.warning(
            "Rows that nothing refers to are left in %s: loads were under way all the time. "
            "The next retention deletes them.",
            ", ".join(sorted(retained.left)),
        )
    for silent in retained.silent:
        context.log.warning(
            "%s. Old payloads there are deleted by the next retention after they have come "
            "into the inbox.",
            silent,
        )
    return dg.MaterializeResult(metadata=_describe(retained, dry_run=dry_run))


def name_retention_job(source: str) -> str:
    """Name the job, and the schedule, of a source's retention."""
    return f"{source}_{NAME}"


def build_retention_job(source: Source) -> dg.Definitions:
    """Build the job, and its schedule."""
    assert source.retention is not None  # noqa: S101 -- see `build_retention`
    name, keep_days = name_retention_job(source.stem), source.retention.keep_days
    tags = {SOURCE_TAG: source.name}
    job = dg.define_asset_job(
        name,
        selection=dg.AssetSelection.assets(asset_key(source, NAME)),
        description=f"Retention of {source.caption}: calls of more than {keep_days} days go.",
        tags=tags,
    )
    schedule = dg.ScheduleDefinition(
        name=name,
        job=job,
        cron_schedule=source.retention.cron,
        execution_timezone=source.time_zone.key,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=(
            f"Retention of {source.caption}, {keep_days} days: {source.retention.cron}, "
            f"{source.time_zone.key}."
        ),
        tags=tags,
    )
    return dg.Definitions(jobs=[job], schedules=[schedule])


def clear_event_log(
    instance: dg.DagsterInstance,
    folder: Sequence[str],
    retained: RetentionResult,
    *,
    others: Iterable[Sequence[str]] = (),
    dry_run: bool,
) -> None:
    """Delete what Dagster keeps of the days that went: counts, samples of discrepancies.

    Args:
        instance: Dagster's.
        folder: What the keys of the source's assets begin with.
        retained: Until which day; and what went is added to it.
        others: Keys of its assets that do not begin so.
        dry_run: Count, and delete nothing.
    """
    storage = instance.event_log_storage
    # Another storage is a test's.
    if isinstance(storage, BatchingEventLogStorage):
        first_kept = retained.first_kept.isoformat()
        retained.add(
            EVENT_LOG,
            Deleted(*storage.delete_days(folder, first_kept, others=others, dry_run=dry_run)),
        )


def _describe(retained: RetentionResult, *, dry_run: bool) -> Mapping[str, Any]:
    total = sum(retained.places.values(), Deleted())
    verb = "would be deleted" if dry_run else "deleted"
    rows = "".join(
        f"| {place} | {one.rows:,} | {filesize.decimal(one.bytes)} |\n"
        for place, one in retained.places.items()
    )
    return {
        "first_kept_day": retained.first_kept.isoformat(),
        "dry_run": dry_run,
        "rows_deleted": 0 if dry_run else total.rows,
        "bytes_deleted": 0 if dry_run else total.bytes,
        "places": dg.MetadataValue.md(
            f"| where | {verb} | bytes |\n| --- | ---: | ---: |\n{rows}"
            if rows
            else f"Nothing is older than {retained.first_kept}."
        ),
        **({"left_for_next_time": sorted(retained.left)} if retained.left else {}),
    }
