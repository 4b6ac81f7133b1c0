"""The assets `<source>/reports/<name>`: custom reports, one multi-asset; jobs, schedules."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from callkeeper_assets.assets import progress
from callkeeper_assets.assets.days import (
    build_partitions,
    build_range_tags,
    days_of_run,
    describe_counts,
    log_materializations,
    log_verdicts,
)
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
from callkeeper_assets.home import raw_url
from callkeeper_assets.plans import DayRange, plan_report
from callkeeper_assets.postgres.keeping import kept_connection
from callkeeper_assets.postgres.locks import held_source_lock
from callkeeper_assets.postgres.schemas import PUBLIC
from callkeeper_assets.postgres.url import database_url
from callkeeper_assets.raw.store import RawStore
from callkeeper_assets.reports.definition import Report, ReportTable
from callkeeper_assets.warehouse.filters import describe_filters
from callkeeper_assets.warehouse.log_tables import CALLKEEPER_REPORTS

VALUES_FIT: Final = "values_fit"
NO_NEW_FIELDS: Final = "no_new_fields"
_CHECKS: Final = {
    VALUES_FIT: (
        "Every value of the day fits its column. Rows with one that does not are left out, and the "
        "value is in callkeeper_rejects."
    ),
    NO_NEW_FIELDS: (
        "The day's raw calls have no field that neither CallKeeper's documentation nor an earlier "
        "loaded day had (on_new_field)."
    ),
}

_MOST_SHOWN: Final = 20


def name_report_key(source: Source, report: Report) -> dg.AssetKey:
    """Name the asset of a report."""
    return asset_key(source, "reports", report.name)


def build_report_spec(
    source: Source, report: Report, partitions: dg.PartitionsDefinition[str]
) -> dg.AssetSpec:
    """Build the spec of one report."""
    return dg.AssetSpec(
        key=name_report_key(source, report),
        deps=[asset_key(source, "raw_calls")],
        partitions_def=partitions,
        group_name=source.group,
        owners=source.owners,
        description=f"{source.caption}. {_describe(report)}",
        kinds={"postgres", "report"},
        metadata={
            **_describe_tables(report),
            "look_back_days": report.overlap_days,
            "filters": describe_filters(report.filters),
            "on_new_field": report.on_new_field,
        },
        # Each day's materialization is logged by hand: a day without raw calls has none.
        skippable=True,
    )


def list_report_checks(report: Report) -> list[str]:
    """List the names of a report's checks."""
    return [VALUES_FIT] if report.on_new_field == "ignore" else [VALUES_FIT, NO_NEW_FIELDS]


def build_report_checks(
    source: Source, report: Report, partitions: dg.PartitionsDefinition[str]
) -> list[dg.AssetCheckSpec]:
    """Build the specs of a report's checks."""
    return [
        dg.AssetCheckSpec(
            name=name,
            asset=name_report_key(source, report),
            description=_CHECKS[name],
            partitions_def=partitions,
        )
        for name in list_report_checks(report)
    ]


def build_report_lineage(source: Source, report: Report) -> dg.TableColumnLineage:
    """Say of each column that it is made from the raw calls' JSON."""
    payload = [dg.TableColumnDep(asset_key(source, "raw_calls"), "payload")]
    columns = [column.name for table in report.structure for column in table.columns]
    return dg.TableColumnLineage(dict.fromkeys(columns or ["data"], payload))


def _describe(report: Report) -> str:
    if not report.structure:
        names = ", ".join(f"`{name}`" for name, _ in report.fields)
        return (
            f"Custom report as JSON: a row of callkeeper_reports for each call, with {names} in "
            f"`data`, where `report` is '{report.name}'."
        )
    tables = (
        f"- `{table.name}`: a row for each "
        + (f"element of `{table.rows}`" if table.rows else "call")
        for table in report.structure
    )
    return "Custom report in tables of its own:\n\n" + "\n".join(tables)


def _describe_tables(report: Report) -> dict[str, Any]:
    """Return the first table as Dagster's own metadata, the others under their names."""
    if not report.structure:
        schema = dg.TableSchema(
            columns=[
                dg.TableColumn(column.name, column.type, column.description)
                for column in CALLKEEPER_REPORTS.columns
            ]
        )
        return {
            "dagster/column_schema": schema,
            "dagster/table_name": f"{CALLKEEPER_REPORTS.schema}.{CALLKEEPER_REPORTS.name}",
        }
    first, *others = report.structure
    return {
        "dagster/column_schema": _build_schema(first),
        "dagster/table_name": f"{PUBLIC}.{first.name}",
        **{f"columns of {table.name}": _build_schema(table) for table in others},
    }


def _build_schema(table: ReportTable) -> dg.TableSchema:
    key = ", ".join(("account_id", *table.key))
    return dg.TableSchema(
        columns=[
            dg.TableColumn("account_id", "integer", "The source, as in general_accounts"),
            *(
                dg.TableColumn(
                    column.name,
                    column.type,
                    f"{'the call: ' if column.is_parent else ''}{column.path}",
                    constraints=dg.TableColumnConstraints(nullable=column.name not in table.key),
                )
                for column in table.columns
            ),
        ],
        constraints=dg.TableConstraints(other=[f"key: {key}"]),
    )


if TYPE_CHECKING:
    from callkeeper_assets.reports.rows import BuiltDay


def record_report(
    context: dg.AssetExecutionContext, source: Source, report: Report, built: Sequence["BuiltDay"]
) -> None:
    """Record each day of a report that was built, with its checks."""
    if not built:
        return
    key = name_report_key(source, report)
    metadata = {one.day: _describe_day(one) for one in built}
    # The UI shows the newest event's; in each day's it would only fill the event log.
    metadata[max(metadata)]["dagster/column_lineage"] = build_report_lineage(source, report)
    log_materializations(context, key, metadata)
    evaluators = {VALUES_FIT: _evaluate_values, NO_NEW_FIELDS: _evaluate_fields}
    # After the materializations: Dagster counts a check's result for the newest one only.
    log_verdicts(
        context,
        [
            (dg.AssetCheckKey(key, name), one.day, evaluators[name](one))
            for name in list_report_checks(report)
            for one in built
        ],
    )


def _describe_day(one: "BuiltDay") -> dict[str, Any]:
    by_table = {f"rows of {name}": rows for name, rows in one.rows.items()}
    return {
        "dagster/partition_row_count": sum(one.rows.values()),
        **(by_table if len(by_table) > 1 else {}),
        **describe_counts(*one.counts.values()),
        "raw_calls": one.raw_calls,
        "calls": one.calls,
        "rejects": one.rejects,
    }


def _evaluate_values(one: "BuiltDay") -> dg.AssetCheckResult:
    if not one.rejects:
        return dg.AssetCheckResult(passed=True, metadata={"rejects": 0})
    sample = [
        {"call_id": e.call_id, "table": e.table, "column": e.column, "reason": e.reason}
        for e in one.sample
    ]
    first = one.sample[0]
    where = f"{first.table}.{first.column}" if first.column else first.table
    return dg.AssetCheckResult(
        passed=False,
        description=(
            f"{one.rejects} values do not fit and keep their rows out. The first: call "
            f"{first.call_id}, {where}: {first.reason}. All of them, with their values, are in "
            f"callkeeper_rejects."
        ),
        metadata={
            "rejects": one.rejects,
            "sample": dg.MetadataValue.json(sample),
            "sample_is_cut": len(sample) < one.rejects,
        },
        severity=dg.AssetCheckSeverity.WARN,
    )


def _evaluate_fields(one: "BuiltDay") -> dg.AssetCheckResult:
    new = one.new_fields
    if not new:
        return dg.AssetCheckResult(passed=True, metadata={"new_fields": 0})
    return dg.AssetCheckResult(
        passed=False,
        description=(
            f"{len(new)} fields that no day before had: {', '.join(new[:_MOST_SHOWN])}. They are "
            f"in raw calls, and reports may ask for them."
        ),
        metadata={"new_fields": len(new), "fields": list(new[:_MOST_SHOWN])},
        severity=dg.AssetCheckSeverity.WARN,
    )


if TYPE_CHECKING:
    from callkeeper_assets.reports.rows import BuiltDay


def build_reports(source: Source) -> dg.AssetsDefinition:
    """Build the multi-asset of a source's reports; it must have some."""
    partitions = build_partitions(source)

    @dg.multi_asset(
        name=f"{source.stem}__reports",
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
            opened_warehouse(context, source) as url,
            held_source_lock(url, source.name),
        ):
            store = open_store()
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
    from callkeeper_assets.reports.rows import BuiltDay  # noqa: PLC0415
    from callkeeper_assets.warehouse.loader import log_failure  # noqa: PLC0415
    from callkeeper_assets.webhooks.inbox_rows import read_days_of_reports  # noqa: PLC0415

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


def name_report_job(source: str, report: str) -> str:
    """Name the job, and the schedule, of a report."""
    return f"{source}_report_{report}"


def name_all_reports_job(source: str) -> str:
    """Name the job of all reports of a source."""
    return f"{source}_reports"


def build_report_jobs(source: Source) -> dg.Definitions:
    """Build a job and a schedule for each report, and a job of all reports of the source."""
    all_reports = dg.define_asset_job(
        name_all_reports_job(source.stem),
        selection=dg.AssetSelection.assets(
            *(name_report_key(source, report) for report in source.reports)
        ),
        description=(
            f"All reports of {source.caption} for the chosen days, in one run: each day's raw "
            "calls are read once."
        ),
        tags={SOURCE_TAG: source.name},
    )
    return dg.Definitions.merge(
        dg.Definitions(jobs=[all_reports]),
        *(_build_job(source, report) for report in source.reports),
    )


def _build_job(source: Source, report: Report) -> dg.Definitions:
    name = name_report_job(source.stem, report.name)
    job = dg.define_asset_job(
        name,
        selection=dg.AssetSelection.assets(name_report_key(source, report)),
        description=f"The report '{report.name}' of {source.caption}, for the chosen days.",
        tags={SOURCE_TAG: source.name},
    )

    @dg.schedule(
        name=name,
        job=job,
        cron_schedule=report.cron,
        execution_timezone=source.time_zone.key,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=(
            f"The report '{report.name}' of {source.caption}: today, {report.overlap_days} days "
            "before it, and each day whose calls, or whose definition of the report, changed since "
            f"it was built. {report.cron}, {source.time_zone.key}."
        ),
        tags={SOURCE_TAG: source.name},
    )
    def refresh(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        tick = context.scheduled_execution_time
        with kept_connection():
            ranges = plan_report_refresh(source, report, today=source.today(tick))
        if not ranges:
            yield dg.SkipReason("No raw calls are there to build it from.")
        for days in ranges:
            yield dg.RunRequest(
                run_key=f"{tick.isoformat()} {days.first}",
                tags={SOURCE_TAG: source.name, **build_range_tags(days.first, days.last)},
            )

    return dg.Definitions(jobs=[job], schedules=[refresh])


def plan_report_refresh(source: Source, report: Report, *, today: date) -> list[DayRange]:
    """Plan a report's refresh by what its tables hold and which raw calls are there.

    Raises:
        DatabaseError: No database can be reached or started.
        StoreError: The raw calls cannot be reached.
        WarehouseError: The database's schema cannot be brought to this version.
    """
    # The database's driver, which loading the code location need not pay for.
    from callkeeper_assets.warehouse.migrate import ensure_schema  # noqa: PLC0415
    from callkeeper_assets.warehouse.queries import stale_days_of_report  # noqa: PLC0415

    url = database_url()
    ensure_schema(url)
    return plan_report(
        today=today,
        overlap_days=report.overlap_days,
        first_day=source.start_date,
        stale=stale_days_of_report(url, source.name, report.name, report.digest),
        stored=RawStore(raw_url()).list_days(source.name),
    )
