"""The assets `<source>/reports/<name>`: a source's custom reports, as one multi-asset.

Whichever of them a run is for, it reads a day's raw calls once and asks the API nothing. Days
without raw calls do not stop the others: those are built and recorded, then the step fails and
names the missing ones.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING, Final

import dagster as dg

from callkeeper_assets.assets.failures import RETRY_POLICY, failing_clearly, logging_failure
from callkeeper_assets.assets.partitions import build_partitions, days_of_run
from callkeeper_assets.assets.report_days import record_report
from callkeeper_assets.assets.report_specs import (
    build_report_checks,
    build_report_spec,
    name_report_key,
)
from callkeeper_assets.assets.resources import RawCallsResource, WarehouseResource
from callkeeper_assets.assets.signatures import with_known_signature
from callkeeper_assets.config.source import Source
from callkeeper_assets.raw.store import RawStore
from callkeeper_assets.reports.definition import Report
from callkeeper_assets.runs import progress
from callkeeper_assets.runs.lock import held_source_lock

if TYPE_CHECKING:
    from callkeeper_assets.reports.outcomes import BuiltDay

_MOST_SHOWN: Final = 20


def build_reports(source: Source) -> dg.AssetsDefinition:
    """Build the multi-asset of a source's reports; it must have some."""
    partitions = build_partitions(source)

    @dg.multi_asset(
        name=f"{source.name}__reports",
        specs=[build_report_spec(source, report, partitions) for report in source.reports],
        check_specs=[
            check
            for report in source.reports
            for check in build_report_checks(source, report, partitions)
        ],
        can_subset=True,
        backfill_policy=dg.BackfillPolicy.single_run(),
        retry_policy=RETRY_POLICY,
    )
    @with_known_signature
    def reports(
        context: dg.AssetExecutionContext,
        raw_store: RawCallsResource,
        warehouse: WarehouseResource,
    ) -> Iterator[dg.MaterializeResult[None]]:
        chosen = [
            report
            for report in source.reports
            if name_report_key(source, report) in context.selected_asset_keys
        ]
        days = days_of_run(context)
        with (
            failing_clearly(context),
            logging_failure(source, context.run, days),
            warehouse.open(context, source) as url,
            held_source_lock(url, source.name),
        ):
            store = raw_store.open_store()
            problems = _build(context, source, chosen, url=url, store=store, days=days)
        if problems:
            raise dg.Failure("\n".join(problems), allow_retries=False)
        yield from ()

    return reports


def refresh_reports(
    context: dg.AssetExecutionContext,
    source: Source,
    url: str,
    store: RawStore,
    days: Iterable[date],
) -> list[str]:
    """Build all reports of a source for days whose raw calls another step has changed.

    The reports' days are recorded as of that step's run, with their checks.

    Returns:
        Why what was not built was not; empty if all was.
    """
    return _build(context, source, source.reports, url=url, store=store, days=sorted(days))


@dataclass
class _Outcome:
    """What came of a run's days."""

    built: dict[str, list["BuiltDay"]] = field(default_factory=dict)
    unreadable: dict[date, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def _build(
    context: dg.AssetExecutionContext,
    source: Source,
    chosen: Sequence[Report],
    *,
    url: str,
    store: RawStore,
    days: list[date],
) -> list[str]:
    """Build and record reports for days; those done are taken out of `days`."""
    if not chosen or not days:
        return []
    # DuckDB, Arrow and the database's driver, which loading the code location need not pay for.
    from callkeeper_assets.reports.loading import load_reports  # noqa: PLC0415
    from callkeeper_assets.reports.outcomes import BuiltDay  # noqa: PLC0415
    from callkeeper_assets.warehouse.loader import log_failure  # noqa: PLC0415
    from callkeeper_assets.webhooks.told_calls import read_days_of_reports  # noqa: PLC0415

    account, outcome = source.account, _Outcome()
    wanted, total = tuple(days), len(days)
    results = load_reports(
        url,
        account,
        read_days_of_reports(url, store, source, wanted, outcome.unreadable),
        reports=chosen,
        configured=source.reports,
        run_id=context.run.run_id,
    )
    try:
        for result in results:
            if isinstance(result, BuiltDay):
                outcome.built.setdefault(result.report, []).append(result)
            else:
                outcome.problems.append(result.reason)
            if result.day in days:
                days.remove(result.day)
                progress.report("loaded", total - len(days), total)
    finally:
        # What is committed is recorded, whatever ended the work.
        for report in chosen:
            record_report(context, source, report, outcome.built.get(report.name, ()))
    if outcome.unreadable:
        text = _describe_unreadable(source, outcome.unreadable, total)
        log_failure(url, account, [min(outcome.unreadable)], context.run.run_id, text)
        outcome.problems.append(text)
    return outcome.problems


def _describe_unreadable(source: Source, unreadable: dict[date, str], total: int) -> str:
    """Say which days were not built, and how to get their raw calls."""
    damaged = [text for text in unreadable.values() if text]
    missing = sorted(day for day, text in unreadable.items() if not text)
    if not missing:
        return "\n".join(damaged)
    first, last = missing[0], missing[-1]
    built = total - len(unreadable)
    text = (
        f"Source '{source.name}': no raw calls are there for {len(missing)} of {total} days: "
        f"{_list_ranges(missing)}. "
        + ("The other days are built. " if built else "No day is built. ")
        + f"Load them: callkeeper load {source.name} --from {first} --to {last}"
    )
    return "\n".join([text, *damaged])


def _list_ranges(days: Sequence[date]) -> str:
    ranges: list[list[date]] = []
    for day in days:
        if ranges and day - ranges[-1][-1] == timedelta(days=1):
            ranges[-1][1:] = [day]
        else:
            ranges.append([day])
    shown = [" to ".join(map(str, one)) for one in ranges[:_MOST_SHOWN]]
    more = len(ranges) - len(shown)
    return ", ".join(shown) + (f" and {more} more stretches" if more else "")
