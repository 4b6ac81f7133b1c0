"""Puts a source's assets, checks, jobs and schedules together, and what all sources share."""

from collections.abc import Sequence

import dagster as dg

from callkeeper_assets.assets.housekeeping import build_event_log_pruning, build_janitor
from callkeeper_assets.assets.jobs import build_jobs
from callkeeper_assets.assets.personal_data import build_client_jobs, build_protection
from callkeeper_assets.assets.raw_calls import build_raw_calls
from callkeeper_assets.assets.reconciliation import build_reconciliation, build_reconciliation_job
from callkeeper_assets.assets.reports import build_report_jobs, build_reports
from callkeeper_assets.assets.resources import (
    CallKeeperResource,
    RawCallsResource,
    WarehouseResource,
)
from callkeeper_assets.assets.retention import build_retention
from callkeeper_assets.assets.tables import build_tables
from callkeeper_assets.assets.watch import build_watch, build_watch_checks
from callkeeper_assets.assets.webhook_inbox import build_webhook_inbox
from callkeeper_assets.assets.webhooks import (
    build_webhook_audit,
    build_webhook_calls,
    build_webhook_check,
    has_webhook_check,
)
from callkeeper_assets.config.source import Source
from callkeeper_assets.warehouse.schema import CALLS


def build_source_definitions(source: Source) -> dg.Definitions:
    """Build everything of one source; resources come from `build_shared_definitions`."""
    parts = [
        dg.Definitions(
            assets=[build_raw_calls(source), build_tables(source)],
            asset_checks=[build_watch_checks(source)],
        ),
        build_jobs(source),
        build_protection(source),
    ]
    # Without calls in the tables there is nothing to compare.
    if CALLS in source.tables:
        parts += [
            dg.Definitions(assets=[build_reconciliation(source)]),
            build_reconciliation_job(source),
        ]
    if source.has_webhook_audit:
        parts.append(dg.Definitions(assets=[build_webhook_audit(source)]))
    if has_webhook_check(source):
        parts.append(dg.Definitions(asset_checks=[build_webhook_check(source)]))
    if source.reports:
        parts += [dg.Definitions(assets=[build_reports(source)]), build_report_jobs(source)]
    if source.retention:
        parts.append(build_retention(source))
    return dg.Definitions.merge(*parts)


def build_shared_definitions(sources: Sequence[Source]) -> dg.Definitions:
    """Build what there is once: resources, the executor, jobs and sensors of all sources."""
    shared = dg.Definitions(
        resources={
            "callkeeper": CallKeeperResource(),
            "raw_store": RawCallsResource(),
            "warehouse": WarehouseResource(),
        },
        # A run's steps are one chain: a process for each would only cost its start.
        executor=dg.in_process_executor,
        sensors=[build_janitor(), build_watch(sources)],
    )
    always = (build_event_log_pruning(), build_client_jobs())
    takers = [source for source in sources if source.webhook]
    if not takers:
        return dg.Definitions.merge(shared, *always)
    return dg.Definitions.merge(
        shared,
        *always,
        dg.Definitions(assets=[build_webhook_calls(takers)]),
        build_webhook_inbox(takers),
    )
