"""The asset `<source>/reconciliation`: days compared and corrected; checks, job, schedule."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Final

import dagster as dg

from callkeeper_assets.assets import progress
from callkeeper_assets.assets.charts import draw_trend
from callkeeper_assets.assets.days import (
    RECONCILIATION_SCHEMA,
    ReconciliationConfig,
    build_partitions,
    build_range_tags,
    days_of_run,
    describe_counts,
    log_materializations,
    log_observations,
    log_verdicts,
    read_config,
)
from callkeeper_assets.assets.keys import asset_key
from callkeeper_assets.assets.raw_calls import Fetching, name_pool, open_fetching
from callkeeper_assets.assets.reports import refresh_reports
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
from callkeeper_assets.postgres.locks import held_source_lock
from callkeeper_assets.raw.place import RawError
from callkeeper_assets.raw.store import Day, RawStore, store_days
from callkeeper_assets.reconcile.discrepancies import ComparedDay, Discrepancy, Mode
from callkeeper_assets.warehouse.records import Guard, LoadedDay, RefusedDay, RowCounts
from callkeeper_assets.warehouse.schema import CALLS, FACTS

_MOST_SHOWN: Final = 10

# By check: its parameter or kind in callkeeper_discrepancies, and what passing means.
_MISSING: Final = {
    "missing_in_warehouse": "Every call that the source has, and no filter leaves out, is there.",
    "missing_in_source": "Every call in the warehouse is one that the source still has.",
}
_NUMBERS: Final = {
    "call_duration": ("duration_sec", "call duration"),
    "talk_duration": ("duration2_sec", "talk duration"),
    "attempt": ("attempt", "number of the attempt"),
    "recognition_attempts": ("asr_attempts", "number of recognition attempts"),
    "ivr_readings": ("playback_tick", "number of IVR readings"),
}
_SAMPLE: Final = dg.TableSchema(
    columns=[
        dg.TableColumn("call_id", "int"),
        dg.TableColumn("warehouse", "string"),
        dg.TableColumn("source", "string"),
        dg.TableColumn("healed", "bool"),
    ]
)
_CHECK_OF: Final = {parameter: name for name, (parameter, _) in _NUMBERS.items()}

NAME: Final = "reconciliation"
_TREND_DAYS: Final = 90
_MODES: Final[dict[Mode, str]] = {
    "heal": "what differs was loaded anew",
    "log": "off (reconciliation.heal): nothing but the log was written",
    "dry_run": "dry run: nothing was changed",
}


@dataclass(frozen=True)
class ParameterFinding:
    """What one check found on one day; the sample shows what is left first."""

    found: int
    left: int
    sample: tuple[Discrepancy, ...]


def build_reconciliation_checks(
    source: Source, key: dg.AssetKey, partitions: dg.PartitionsDefinition[str]
) -> list[dg.AssetCheckSpec]:
    """Build the specs of the checks that fit the source's selected tables."""
    descriptions = dict(_MISSING)
    if FACTS in source.tables:
        descriptions |= {
            name: f"The {label} of every call is that of the source (`{parameter}`)."
            for name, (parameter, label) in _NUMBERS.items()
        }
    return [
        dg.AssetCheckSpec(name=name, asset=key, description=description, partitions_def=partitions)
        for name, description in descriptions.items()
    ]


def find_by_check(discrepancies: Sequence[Discrepancy]) -> dict[str, ParameterFinding]:
    """Sort a day's discrepancies by check; checks that found nothing are left out."""
    by_check: dict[str, list[Discrepancy]] = {}
    for one in discrepancies:
        by_check.setdefault(_CHECK_OF.get(one.parameter, one.kind), []).append(one)
    return {
        name: ParameterFinding(
            found=len(found),
            left=sum(not one.is_healed for one in found),
            sample=tuple(sorted(found, key=lambda one: one.is_healed)[:_MOST_SHOWN]),
        )
        for name, found in by_check.items()
    }


def build_check_result(
    source: Source, mode: Mode, day: date, name: str, finding: ParameterFinding | None
) -> dg.AssetCheckResult:
    """Say what a check found on a day, and what to do."""
    if finding is None:
        return dg.AssetCheckResult(passed=True, metadata={"found": 0, "healed": 0, "left": 0})
    what = _describe(name)
    metadata: dict[str, Any] = {
        "found": finding.found,
        "healed": finding.found - finding.left,
        "left": finding.left,
        "sample": dg.MetadataValue.table([_show(one) for one in finding.sample], _SAMPLE),
        "sample_is_cut": finding.found > len(finding.sample),
    }
    if not finding.left:
        text = f"{what}: {_count(finding.found)}, all healed. Nothing has to be done."
        return dg.AssetCheckResult(
            passed=False, description=text, metadata=metadata, severity=dg.AssetCheckSeverity.WARN
        )
    text = f"{what}: {_count(finding.found)}, {finding.left} left. {_remedy(source, mode, day)}"
    return dg.AssetCheckResult(passed=False, description=text, metadata=metadata)


def _describe(name: str) -> str:
    if name in _NUMBERS:
        parameter, label = _NUMBERS[name]
        return f"The {label} differs from the source's ({parameter})"
    return "Missing in the warehouse" if name == "missing_in_warehouse" else "Missing at the source"


def _count(number: int) -> str:
    return f"{number} call{'' if number == 1 else 's'}"


def _remedy(source: Source, mode: Mode, day: date) -> str:
    period = f"{source.name} --from {day} --to {day}"
    match mode:
        case "dry_run":
            return f"This was a dry run. To heal: callkeeper reconcile {period}"
        case "log":
            return (
                f"Healing is off (reconciliation.heal in {source.file}). To load the day anew: "
                f"callkeeper load {period}"
            )
        case "heal":
            return (
                "Healing did not change it: something else writes to the tables, a trigger or "
                f"another program. Find it, then: callkeeper reconcile {period}"
            )


def _show(one: Discrepancy) -> dg.TableRecord:
    return dg.TableRecord(
        {
            "call_id": one.call_id,
            "warehouse": one.warehouse_value,
            "source": one.source_value,
            "healed": one.is_healed,
        }
    )


def summarise_day(day: ComparedDay) -> tuple[dict[str, Any], dict[str, ParameterFinding]]:
    """Return what Dagster's UI shows of a day, and what each check found."""
    findings = find_by_check(day.discrepancies)
    found = sum(one.found for one in findings.values())
    left = sum(one.left for one in findings.values())
    metadata: dict[str, Any] = {
        "found": found,
        "healed": found - left,
        "left": left,
        "calls_compared": day.calls,
        "non_final_calls": day.non_final,
        "waiting_calls": day.waiting,
        **describe_counts(*(day.loaded.counts.values() if day.loaded else ())),
    }
    return metadata, findings


def build_reconciliation(source: Source) -> dg.AssetsDefinition:
    """Build the asset of a source, among whose tables callkeeper_calls has to be."""
    key = asset_key(source, NAME)
    partitions = build_partitions(source)

    spec = dg.AssetSpec(
        key=key,
        group_name=source.group,
        owners=source.owners,
        description=(
            f"Each day of {source.caption} compared with what CallKeeper has now, by call id, call "
            "duration, talk duration, attempt, recognition attempts and IVR readings. What differs "
            "is in the table callkeeper_discrepancies, in each day's checks, and healed."
        ),
        kinds={"callkeeper", "postgres"},
        deps=[asset_key(source, name) for name in (CALLS, FACTS) if name in source.tables],
        metadata={"days_back": source.reconciliation.days, "heal": source.reconciliation.heal},
        partitions_def=partitions,
        # Each day's materialization is logged by hand: a day that is left alone has none.
        skippable=True,
    )

    @dg.multi_asset(
        name=f"{source.stem}__{NAME}",
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
    ) -> Iterator[dg.MaterializeResult[None]]:
        step = _Step(context, source, read_config(context, ReconciliationConfig))
        days = step.choose_days()
        with (
            failing_clearly(context),
            step.logging_failure(days),
            opened_warehouse(context, source) as url,
            held_source_lock(url, source.name),
        ):
            fetching = step.open_fetching(url, open_store().knowing(source.name, days))
            outcome = _reconcile(step, fetching, url, days)
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
            return "dry_run"
        return "heal" if self.source.reconciliation.heal else "log"

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
    findings: dict[date, dict[str, ParameterFinding]] = field(default_factory=dict)
    changed: dict[date, LoadedDay] = field(default_factory=dict)
    refusals: dict[date, str] = field(default_factory=dict)

    def add(self, day: ComparedDay) -> None:
        self.metadata[day.day], self.findings[day.day] = summarise_day(day)
        if day.loaded and any(counts != RowCounts() for counts in day.loaded.counts.values()):
            self.changed[day.day] = day.loaded


def _reconcile(step: _Step, fetching: Fetching, url: str, days: list[date]) -> _Outcome:
    """Reconcile the days; those done are taken out of `days`."""
    # DuckDB, Arrow and the database's driver: 0.4 s, which loading the code location need not pay.
    from callkeeper_assets.reconcile.reconciliation import reconcile_days  # noqa: PLC0415
    from callkeeper_assets.warehouse.loader import log_failure  # noqa: PLC0415

    source, run_id = step.source, step.context.run.run_id
    account, total, outcome = source.account, len(days), _Outcome()
    with fetching.open(days) as fetched:
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
    log_materializations(context, asset_key(source, NAME), outcome.metadata)
    for table in source.tables:
        # Not materializations: the results of the tables' own checks would look outdated.
        log_observations(
            context,
            asset_key(source, table),
            {
                day: {
                    "dagster/partition_row_count": loaded.count_rows(table),
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
                build_check_result(source, step.mode, day, check.name, findings.get(check.name)),
            )
            for check in sorted(context.selected_asset_check_keys)
            for day, findings in outcome.findings.items()
        ],
    )


def _build_trend(source: Source, url: str) -> dg.MarkdownMetadataValue:
    from callkeeper_assets.reconcile.discrepancies import read_discrepancy_trend  # noqa: PLC0415

    last = source.today()
    first = last - timedelta(days=_TREND_DAYS - 1)
    return dg.MetadataValue.md(
        draw_trend(read_discrepancy_trend(url, source.name, first, last), first, last)
    )


def name_reconciliation_job(source: str) -> str:
    """Name the job, and the schedule, of a source's reconciliation."""
    return f"{source}_{NAME}"


def build_reconciliation_job(source: Source) -> dg.Definitions:
    """Build the job, for any days in one run, and its schedule."""
    name, days_back = name_reconciliation_job(source.stem), source.reconciliation.days
    job = dg.define_asset_job(
        name,
        selection=dg.AssetSelection.assets(asset_key(source, NAME)),
        description=f"Reconciliation of {source.caption}: the chosen days in one run.",
        tags={SOURCE_TAG: source.name},
    )

    @dg.schedule(
        name=name,
        job=job,
        cron_schedule=source.reconciliation.cron,
        execution_timezone=source.time_zone.key,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=(
            f"Reconciliation of the {days_back} days before today of {source.caption}: "
            f"{source.reconciliation.cron}, {source.time_zone.key}."
        ),
        tags={SOURCE_TAG: source.name},
    )
    def reconciliation(
        context: dg.ScheduleEvaluationContext,
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        tick = context.scheduled_execution_time
        today = source.today(tick)
        # Today's calls are still coming: each since the last refresh would be a discrepancy.
        last = today - timedelta(days=1)
        first = max(source.first_day(today), today - timedelta(days=days_back))
        if first > last:
            yield dg.SkipReason(f"The source gives no day before {today}.")
            return
        yield dg.RunRequest(
            run_key=tick.isoformat(),
            tags={SOURCE_TAG: source.name, **build_range_tags(first, last)},
        )

    return dg.Definitions(jobs=[job], schedules=[reconciliation])
