"""The asset `<source>/reconciliation`: days of the warehouse compared with the source, and healed.

The days are fetched anew, by the client and the guard of raw_calls; what was fetched is kept as raw
calls and heals the tables, by the loader that loads. A dry run, and `heal: false`, leave both as
they are. Days that are done are recorded, each with its checks, also when others fail.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Final

import dagster as dg

from callkeeper_assets.assets.config import RECONCILIATION_SCHEMA, ReconciliationConfig, read_config
from callkeeper_assets.assets.day_chart import draw_trend
from callkeeper_assets.assets.day_events import (
    log_materializations,
    log_observations,
    log_verdicts,
)
from callkeeper_assets.assets.day_metadata import describe_counts
from callkeeper_assets.assets.failures import RETRY_POLICY, failing_clearly, logging_failure
from callkeeper_assets.assets.fetching import Fetching, name_pool, open_fetching
from callkeeper_assets.assets.partitions import build_partitions, days_of_run
from callkeeper_assets.assets.reconciliation_checks import (
    Finding,
    build_reconciliation_checks,
    judge_check,
    summarise_day,
)
from callkeeper_assets.assets.reports import refresh_reports
from callkeeper_assets.assets.resources import (
    CallKeeperResource,
    RawCallsResource,
    WarehouseResource,
)
from callkeeper_assets.assets.signatures import with_known_signature
from callkeeper_assets.config.source import Source
from callkeeper_assets.raw.days import Day
from callkeeper_assets.raw.errors import RawError
from callkeeper_assets.raw.store import RawStore, store_days
from callkeeper_assets.runs import progress
from callkeeper_assets.runs.lock import held_source_lock
from callkeeper_assets.warehouse.dimensions import CALLS, FACTS
from callkeeper_assets.warehouse.discrepancies import ComparedDay, Mode
from callkeeper_assets.warehouse.records import Guard, LoadedDay, RefusedDay, RowCounts

NAME: Final = "reconciliation"
_TREND_DAYS: Final = 90
_MODES: Final[dict[Mode, str]] = {
    "heal": "what differs was loaded anew",
    "note": "off (reconciliation.heal): nothing but the log was written",
    "look": "dry run: nothing was changed",
}


def build_reconciliation(source: Source) -> dg.AssetsDefinition:
    """Build the asset of a source, among whose tables callkeeper_calls has to be."""
    key = dg.AssetKey([source.name, NAME])
    partitions = build_partitions(source)

    spec = dg.AssetSpec(
        key=key,
        group_name=source.name,
        owners=source.owners,
        description=(
            f"Each day of {source.caption} compared with what CallKeeper has now, by call id, call "
            "duration, talk duration, attempt, recognition attempts and IVR readings. What differs "
            "is in the table callkeeper_discrepancies, in each day's checks, and healed."
        ),
        kinds={"callkeeper", "postgres"},
        deps=[dg.AssetKey([source.name, name]) for name in (CALLS, FACTS) if name in source.tables],
        metadata={"days_back": source.reconciliation.days, "heal": source.reconciliation.heal},
        partitions_def=partitions,
        # Each day's materialization is logged by hand: a day that is left alone has none.
        skippable=True,
    )

    @dg.multi_asset(
        name=f"{source.name}__{NAME}",
        specs=[spec],
        check_specs=build_reconciliation_checks(source, key, partitions),
        # Its checks' results are logged by hand, too: Dagster must not wait for them.
        can_subset=True,
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool=name_pool(source),
        retry_policy=RETRY_POLICY,
        config_schema=RECONCILIATION_SCHEMA,
    )
    @with_known_signature
    def reconciliation(
        context: dg.AssetExecutionContext,
        callkeeper: CallKeeperResource,
        raw_store: RawCallsResource,
        warehouse: WarehouseResource,
    ) -> Iterator[dg.MaterializeResult[None]]:
        step = _Step(context, source, read_config(context, ReconciliationConfig))
        days = step.choose_days()
        with (
            failing_clearly(context),
            step.logging_failure(days),
            warehouse.open(context, source) as url,
            held_source_lock(url, source.name),
        ):
            fetching = step.open_fetching(url, raw_store.open_store())
            outcome = _reconcile(step, fetching, callkeeper, url, days)
            _record(step, url, outcome)
            # The tables are healed, and so are the reports that are made from the same calls.
            problems = refresh_reports(context, source, url, fetching.store, outcome.changed)
            if fetching.error:
                raise fetching.error
        problems += outcome.refusals.values()
        if problems:
            raise dg.Failure("\n".join(problems), allow_retries=False)
        yield from ()

    return reconciliation


@dataclass(frozen=True)
class _Step:
    """One run's step: what it is for, and how it goes about it."""

    context: dg.AssetExecutionContext
    source: Source
    config: ReconciliationConfig

    @property
    def mode(self) -> Mode:
        if self.config.dry_run:
            return "look"
        return "heal" if self.source.reconciliation.heal else "note"

    @property
    def guard(self) -> Guard | None:
        if self.config.force:
            return None
        return Guard(max_lost_share=self.source.max_lost_share, command="reconcile")

    def open_fetching(self, url: str, store: RawStore) -> Fetching:
        notes = self.mode == "heal"
        return open_fetching(self.context, self.source, store, self.guard, url, notes_setting=notes)

    def choose_days(self) -> list[date]:
        """Return the run's days that the source can still give; say which are left alone."""
        days = days_of_run(self.context)
        first_day = self.source.first_day(self.source.today())
        chosen = [day for day in days if day >= first_day]
        if len(chosen) < len(days):
            self.context.log.warning(
                "%d days before %s are left alone: the source does not give them "
                "(start_date and history_days in %s).",
                len(days) - len(chosen),
                first_day,
                self.source.file,
            )
        return chosen

    def logging_failure(self, days: list[date]) -> AbstractContextManager[None]:
        """Put an error into the load log, if healing was to load."""
        if self.mode != "heal":
            return nullcontext()
        return logging_failure(self.source, self.context.run, days)


@dataclass
class _Outcome:
    """What came of a run's days; of what differs only counts and samples are kept."""

    metadata: dict[date, dict[str, Any]] = field(default_factory=dict)
    findings: dict[date, dict[str, Finding]] = field(default_factory=dict)
    changed: dict[date, LoadedDay] = field(default_factory=dict)
    refusals: dict[date, str] = field(default_factory=dict)

    def add(self, day: ComparedDay) -> None:
        self.metadata[day.day], self.findings[day.day] = summarise_day(day)
        if day.loaded and any(counts != RowCounts() for counts in day.loaded.counts.values()):
            self.changed[day.day] = day.loaded


def _reconcile(
    step: _Step, fetching: Fetching, callkeeper: CallKeeperResource, url: str, days: list[date]
) -> _Outcome:
    """Reconcile the days; those done are taken out of `days`."""
    # DuckDB, Arrow and the database's driver: 0.4 s, which loading the code location need not pay.
    from callkeeper_assets.warehouse.loader import log_failure  # noqa: PLC0415
    from callkeeper_assets.warehouse.reconciliation import reconcile_days  # noqa: PLC0415

    source, run_id = step.source, step.context.run.run_id
    account, total, outcome = source.account, len(days), _Outcome()
    with fetching.open(callkeeper, days) as fetched:
        results = reconcile_days(
            url,
            account,
            _keep_days(fetched, fetching, step.mode, outcome, total),
            tables=source.tables,
            filters=source.filters,
            run_id=run_id,
            mode=step.mode,
            guard=step.guard,
            settled_before=source.settled_before(source.today()),
        )
        for result in results:
            days.remove(result.day)
            if isinstance(result, RefusedDay):
                outcome.refusals[result.day] = result.reason
            else:
                outcome.add(result)
                progress.report_compared(result)
            progress.report("compared", total - len(days), total)
    for day in [day for day in days if day in outcome.refusals]:
        days.remove(day)
        if step.mode == "heal":
            # The loader logs the days that it refuses itself; these it has never seen.
            log_failure(url, account, [day], run_id, outcome.refusals[day])
    return outcome


def _keep_days(
    days: Iterator[Day], fetching: Fetching, mode: Mode, outcome: _Outcome, total: int
) -> Iterator[Day]:
    """Keep days as raw calls, if healing is on, and pass on those that the guard lets pass."""
    if mode == "heal":
        days = store_days(fetching.store, days)
    try:
        for done, day in enumerate(days, start=1):
            progress.report("fetched", done, total)
            if day.details.refusal:
                outcome.refusals[day.day] = day.details.refusal
            else:
                yield day
    except RawError as error:
        fetching.error = error


def _record(step: _Step, url: str, outcome: _Outcome) -> None:
    """Record each day that was compared, with its checks, and the tables' days that it changed."""
    if not outcome.metadata:
        return
    context, source = step.context, step.source
    for metadata in outcome.metadata.values():
        metadata["healing"] = _MODES[step.mode]
    # The UI shows the newest event's; in each day's it would only fill the event log.
    outcome.metadata[max(outcome.metadata)]["trend"] = _build_trend(source, url)
    log_materializations(context, dg.AssetKey([source.name, NAME]), outcome.metadata)
    for table in source.tables:
        # Not materializations: the results of the tables' own checks would look outdated.
        log_observations(
            context,
            dg.AssetKey([source.name, table]),
            {
                day: {
                    "dagster/row_count": loaded.count_rows(table),
                    **describe_counts(counts),
                    "changed_by": f"reconciliation, run {context.run.run_id}",
                }
                for day, loaded in outcome.changed.items()
                if (counts := loaded.counts[table]) != RowCounts()
            },
        )
    # After the materializations: Dagster counts a check's result for the newest one only.
    log_verdicts(
        context,
        [
            (
                check,
                day,
                judge_check(source, step.mode, day, check.name, findings.get(check.name)),
            )
            for check in sorted(context.selected_asset_check_keys)
            for day, findings in outcome.findings.items()
        ],
    )


def _build_trend(source: Source, url: str) -> dg.MarkdownMetadataValue:
    from callkeeper_assets.warehouse.discrepancies import read_discrepancy_trend  # noqa: PLC0415

    last = source.today()
    first = last - timedelta(days=_TREND_DAYS - 1)
    return dg.MetadataValue.md(
        draw_trend(read_discrepancy_trend(url, source.name, first, last), first, last)
    )
