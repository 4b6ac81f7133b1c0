"""The assets `<source>/<table>`: the selected tables, as one multi-asset, and their checks."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from callkeeper_assets.assets import progress
from callkeeper_assets.assets.days import (
    LOAD_SCHEMA,
    LoadConfig,
    build_partitions,
    days_of_run,
    describe_counts,
    first_run_id,
    log_materializations,
    log_verdicts,
    other_days_of_run,
    read_config,
)
from callkeeper_assets.assets.keys import asset_key
from callkeeper_assets.assets.raw_calls import (
    DESCRIPTIONS,
    RECORDS_USABLE,
    TIMES_AGREE,
    evaluate_records,
    evaluate_times,
)
from callkeeper_assets.assets.resources import (
    RETRY_POLICY,
    failing_clearly,
    logging_failure,
    open_store,
    opened_warehouse,
    with_known_signature,
)
from callkeeper_assets.config.errors import list_some
from callkeeper_assets.config.source import Source
from callkeeper_assets.dagster_ext.steps import add_day_metadata
from callkeeper_assets.postgres.locks import held_source_lock
from callkeeper_assets.raw.store import Day, DayDetails, RawStore
from callkeeper_assets.warehouse.call_sql import list_origins
from callkeeper_assets.warehouse.filters import describe_filters
from callkeeper_assets.warehouse.records import Guard, LoadedDay
from callkeeper_assets.warehouse.schema import CALLS, DATES, DIMENSIONS, FACTS
from callkeeper_assets.warehouse.tables import TABLES, Column, Table

if TYPE_CHECKING:
    from callkeeper_assets.warehouse.checks import Violations


_Evaluator = Callable[[str, LoadedDay], dg.AssetCheckResult]

_MOST_FIELDS: Final = 20
_DESCRIPTIONS: Final = {
    "keys_unique": "No key of the day's rows occurs twice.",
    "foreign_keys_found": "Every foreign key of the day's rows finds its row, and just one.",
    "count_equals_raw": "The day has one row for each raw call that the filters let pass.",
    "no_unknown_fields": (
        "The source sent no field that its documentation does not know. New ones are kept in raw "
        "calls; tell the maintainers which, so that they get columns."
    ),
    "no_calls_lost": (
        "The source still sends the calls of the day that it sent before, but for a handful or a "
        "fifth. The day as it was is kept beside its raw calls otherwise."
    ),
    "values_readable": (
        "Every number and time of the day's calls could be read. One that cannot is NULL in its "
        "column, and as received in raw calls."
    ),
    **DESCRIPTIONS,
}

# A day may be fetched by another run between being read and being loaded, but not time and again.
_ATTEMPTS: Final = 3

# Columns of raw calls that a column comes from, where that is not the payload.
_FROM_RAW_COLUMN: Final = {
    (CALLS, "call_id"): "call_id",
    (CALLS, "called_at"): "called_at",
}


def name_main_table(source: Source) -> str:
    """Name the table that has the checks of the calls themselves, whatever is selected."""
    return CALLS if CALLS in source.tables else source.tables[0]


def _name_by_key(source: Source) -> dict[dg.AssetKey, str]:
    return {asset_key(source, table): table for table in source.tables}


def build_check_specs(
    source: Source, partitions: dg.PartitionsDefinition[str]
) -> list[dg.AssetCheckSpec]:
    """Build the specs of the checks that fit the source's selected tables."""
    return [
        dg.AssetCheckSpec(
            name=name,
            asset=asset_key(source, table),
            description=_DESCRIPTIONS[name],
            partitions_def=partitions,
        )
        for table, name in _list_checks(source)
    ]


def log_checks(
    context: dg.AssetExecutionContext,
    source: Source,
    url: str,
    loaded: Sequence[LoadedDay],
    fetched: Mapping[date, DayDetails],
) -> None:
    """Evaluate the checks that the run asks for, and log a result for each loaded day.

    `fetched` says how the raw calls of the days were fetched.
    """
    wanted = context.selected_asset_check_keys
    if not loaded or not wanted:
        return
    names = _name_by_key(source)
    evaluators: dict[str, _Evaluator] = {
        **_build_evaluators(source, url, {key.name for key in wanted}, loaded),
        "no_calls_lost": _build_loss_evaluator(source, fetched),
        RECORDS_USABLE: lambda _, day: evaluate_records(source, day, fetched.get(day.day)),
        TIMES_AGREE: lambda _, day: evaluate_times(day, fetched.get(day.day)),
    }
    log_verdicts(
        context,
        [
            (key, day.day, evaluators[key.name](names[key.asset_key], day))
            for key in sorted(wanted)
            for day in loaded
        ],
    )


def _list_checks(source: Source) -> Iterator[tuple[str, str]]:
    """Yield table and check; what came is a matter of the calls, whatever is selected."""
    for table in (CALLS, FACTS):
        if table in source.tables:
            yield table, "keys_unique"
            yield table, "count_equals_raw"
    if FACTS in source.tables:
        yield FACTS, "foreign_keys_found"
    for name in ("no_unknown_fields", "values_readable", "no_calls_lost", RECORDS_USABLE):
        yield name_main_table(source), name
    if source.api == "ckct":
        yield name_main_table(source), TIMES_AGREE


def _build_evaluators(
    source: Source, url: str, names: AbstractSet[str], loaded: Sequence[LoadedDay]
) -> dict[str, _Evaluator]:
    """Ask the database once for all days, and return, by check, what evaluates a table's day."""
    # The database's driver, which loading the code location need not pay for.
    from callkeeper_assets.warehouse.checks import (  # noqa: PLC0415
        check_keys_unique,
        inspect_days,
    )

    days = [day.day for day in loaded]
    evaluators: dict[str, _Evaluator] = {
        "no_unknown_fields": _evaluate_fields,
        "values_readable": _evaluate_values,
    }
    repeated = check_keys_unique(url, source.account, min(days), max(days))
    inspection = inspect_days(url, source.account, days)
    if "keys_unique" in names:
        evaluators["keys_unique"] = _build_violations_evaluator(
            [one for one in repeated if one.day],
            "Load the day again; if it stays, the table's unique index is gone: restore it.",
        )
    if "foreign_keys_found" in names:
        # A key that a dimension has twice finds two rows, on every day.
        evaluators["foreign_keys_found"] = _build_violations_evaluator(
            [
                *inspection.broken,
                *(replace(one, table=FACTS) for one in repeated if not one.day),
            ],
            f"Load the day again: callkeeper load {source.name} --from DAY --to DAY.",
        )
    if "count_equals_raw" in names:
        evaluators["count_equals_raw"] = _build_count_evaluator(inspection.rows, source.name)
    return evaluators


def _build_violations_evaluator(violations: "Iterable[Violations]", remedy: str) -> _Evaluator:
    found: dict[tuple[str, date | None], list[Violations]] = {}
    for one in violations:
        found.setdefault((one.table, one.day), []).append(one)

    def evaluate(table: str, day: LoadedDay) -> dg.AssetCheckResult:
        broken = found.get((table, day.day), []) + found.get((table, None), [])
        rows = sum(one.count for one in broken)
        if not rows:
            return dg.AssetCheckResult(passed=True, metadata={"rows": 0})
        return dg.AssetCheckResult(
            passed=False,
            description="; ".join(f"{one.rule}: {one.count} rows" for one in broken)
            + f". {remedy}",
            metadata={
                "rows": rows,
                "sample": dg.MetadataValue.json({one.rule: list(one.sample) for one in broken}),
                "sample_is_cut": any(len(one.sample) < one.count for one in broken),
            },
        )

    return evaluate


def _build_count_evaluator(counts: Mapping[date, Mapping[str, int]], source: str) -> _Evaluator:
    def evaluate(table: str, day: LoadedDay) -> dg.AssetCheckResult:
        expected, rows = day.rows[table], counts.get(day.day, {}).get(table, 0)
        filtered = day.raw_calls - expected
        text = f"{rows} rows, {day.raw_calls} raw calls, of which filters leave out {filtered}"
        remedy = (
            ""
            if rows == expected
            else f": {expected} rows were expected. Something else writes to the table; "
            f"load the day again: callkeeper load {source} --from {day.day} --to {day.day}"
        )
        return dg.AssetCheckResult(
            passed=rows == expected,
            description=f"{text}{remedy}.",
            metadata={"rows": rows, "raw_calls": day.raw_calls, "filtered": filtered},
        )

    return evaluate


def _build_loss_evaluator(source: Source, fetched: Mapping[date, DayDetails]) -> _Evaluator:
    def evaluate(_: str, day: LoadedDay) -> dg.AssetCheckResult:
        details = fetched[day.day]
        numbers = {"lost_calls": details.lost, "most_calls": details.most_calls}
        if not details.lost:
            return dg.AssetCheckResult(passed=True, metadata=numbers)
        return dg.AssetCheckResult(
            passed=False,
            description=(
                f"{details.lost} of {details.most_calls} calls that the source once sent are gone "
                f"from what it sends; max_lost_share ({source.max_lost_share:.0%}) lets that pass. "
                f"The day as it was lies beside its raw calls, as {day.day}.parquet.replaced. Look "
                f"in CallKeeper's cabinet; if this is right: callkeeper load {source.name} --from "
                f"{day.day} --to {day.day} --force."
            ),
            metadata=numbers,
            severity=dg.AssetCheckSeverity.WARN,
        )

    return evaluate


def _evaluate_fields(_: str, day: LoadedDay) -> dg.AssetCheckResult:
    unknown = day.unknown_fields
    if not unknown:
        return dg.AssetCheckResult(passed=True, metadata={"unknown_fields": 0})
    return dg.AssetCheckResult(
        passed=False,
        description=(
            f"Fields unknown to the documentation: {list_some(unknown, _MOST_FIELDS)}. "
            "They are kept in raw calls."
        ),
        metadata={"unknown_fields": len(unknown), "fields": list(unknown[:_MOST_FIELDS])},
        severity=dg.AssetCheckSeverity.WARN,
    )


def _evaluate_values(_: str, day: LoadedDay) -> dg.AssetCheckResult:
    unusable = sorted(day.unusable_values.items(), key=lambda one: (-one[1], one[0]))
    count = sum(day.unusable_values.values())
    if not count:
        return dg.AssetCheckResult(passed=True, metadata={"unusable_values": 0})
    shown = ", ".join(f"{name} {number}" for name, number in unusable[:_MOST_FIELDS])
    return dg.AssetCheckResult(
        passed=False,
        description=(
            f"Values that are no whole number in plain digits, or no time: {shown}. They are NULL "
            "in their columns; raw calls have them as received."
        ),
        metadata={
            "unusable_values": count,
            "fields": dg.MetadataValue.json(dict(unusable[:_MOST_FIELDS])),
        },
        severity=dg.AssetCheckSeverity.WARN,
    )


@dataclass(frozen=True)
class _Outcome:
    """What came of a run's days.

    Attributes:
        fetched: how those that were read had been fetched.
        kept_back: those whose answer this run refused, with why.
    """

    loaded: list[LoadedDay] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    fetched: dict[date, DayDetails] = field(default_factory=dict)
    kept_back: dict[date, str] = field(default_factory=dict)


def build_tables(source: Source) -> dg.AssetsDefinition:
    """Build the multi-asset of a source's selected tables."""
    partitions = build_partitions(source)

    @dg.multi_asset(
        name=f"{source.stem}__tables",
        specs=[build_table_spec(source, TABLES[name], partitions) for name in source.tables],
        check_specs=build_check_specs(source, partitions),
        can_subset=True,
        backfill_policy=dg.BackfillPolicy.single_run(),
        retry_policy=RETRY_POLICY,
        config_schema=LOAD_SCHEMA,
    )
    @with_known_signature
    def tables(
        context: dg.AssetExecutionContext,
    ) -> Iterator[dg.MaterializeResult[None]]:
        config = read_config(context, LoadConfig)
        days = days_of_run(context)
        with (
            failing_clearly(context),
            logging_failure(source, context.run, days),
            opened_warehouse(context, source) as url,
            held_source_lock(url, source.name),
        ):
            store = open_store()
            outcome = _load(context, source, config, store, url=url, days=days)
            if outcome.refusals:
                _record_one_by_one(context, source, outcome.loaded)
            else:
                others = other_days_of_run(context)
                _describe_days(
                    context, source, [one for one in outcome.loaded if one.day not in others]
                )
                _record_one_by_one(
                    context, source, [one for one in outcome.loaded if one.day in others]
                )
                # In the order of declaration, which puts a table after those that it refers to.
                for table in source.tables:
                    key = asset_key(source, table)
                    if key in context.selected_asset_keys:
                        yield dg.MaterializeResult(asset_key=key)
            # After the materializations: Dagster counts a check's result for the newest one only.
            log_checks(context, source, url, outcome.loaded, outcome.fetched)
        if outcome.refusals:
            raise dg.Failure("\n".join(outcome.refusals), allow_retries=False)

    return tables


def _load(
    context: dg.AssetExecutionContext,
    source: Source,
    config: LoadConfig,
    store: RawStore,
    *,
    url: str,
    days: list[date],
) -> _Outcome:
    """Load the run's days, but for those whose newest answer was refused in this very run.

    Those done are taken out of `days`.
    """
    # DuckDB, Arrow and the database's driver: 0.4 s, which loading the code location need not pay.
    from callkeeper_assets.warehouse.loader import Loader, log_failure  # noqa: PLC0415

    account, run_id = source.account, context.run.run_id
    outcome = _Outcome()
    total = len(days)
    wanted: Sequence[date] = tuple(days)
    attempts = _ATTEMPTS
    with Loader(url) as loader:
        while wanted:
            attempts -= 1
            outdated: list[date] = []
            for result in loader.load(
                account,
                _read_days(source, store, wanted, first_run_id(context.run), outcome),
                tables=source.tables,
                filters=source.filters,
                run_id=run_id,
                guard=None if config.force else Guard(max_lost_share=source.max_lost_share),
            ):
                if isinstance(result, LoadedDay):
                    outcome.loaded.append(result)
                elif result.is_outdated and attempts:
                    # Another run has fetched and loaded it meanwhile: its raw calls are newer too.
                    outdated.append(result.day)
                    continue
                else:
                    outcome.refusals.append(result.reason)
                days.remove(result.day)
                progress.report("loaded", total - len(days), total)
            wanted = outdated
    outcome.loaded.sort(key=lambda one: one.day)
    for day, reason in outcome.kept_back.items():
        # The loader logs the days that it refuses itself; these it has never seen.
        log_failure(url, account, [day], run_id, reason)
        outcome.refusals.append(reason)
    _log_totals(context, outcome.loaded)
    return outcome


def _read_days(
    source: Source,
    store: RawStore,
    days: Sequence[date],
    run_id: str,
    outcome: _Outcome,
) -> Iterator[Day]:
    """Read the days, but note those whose answer this run refused as kept back, with why."""
    store = store.knowing(source.name, days)
    for day, read in store.ahead(partial(store.read, source.name), days):
        refusal = source.find_retention_problem(day) or _read_refusal(source, store, day, run_id)
        if refusal:
            outcome.kept_back[day] = refusal
            continue
        stored = read()
        outcome.fetched[day] = stored.details
        yield stored


def _read_refusal(source: Source, store: RawStore, day: date, run_id: str) -> str:
    """Say why this run's answer for the day was not stored; empty if it was."""
    details = store.read_details(source.name, day, "refused")
    return details.refusal if details and details.run_id == run_id else ""


def _log_totals(context: dg.AssetExecutionContext, loaded: Iterable[LoadedDay]) -> None:
    counts = [counts for day in loaded for counts in day.counts.values()]
    context.log.info(
        "Rows in all tables: %d added, %d updated, %d deleted.",
        sum(one.added for one in counts),
        sum(one.updated for one in counts),
        sum(one.deleted for one in counts),
    )


def _describe_days(
    context: dg.AssetExecutionContext, source: Source, loaded: Sequence[LoadedDay]
) -> None:
    names = _name_by_key(source)
    for key in context.selected_asset_keys:
        table = names[key]
        metadata = {day.day: _describe_day(day, table) for day in loaded}
        if loaded:
            # The UI shows the newest event's; in each day's it would only fill the event log.
            metadata[loaded[-1].day]["dagster/column_lineage"] = build_column_lineage(
                source, TABLES[table]
            )
        add_day_metadata(context, key, metadata)


def _describe_day(day: LoadedDay, table: str) -> dict[str, Any]:
    unconfirmed = day.unconfirmed.get(table, 0)
    unusable = sum(day.unusable_values.values())
    return {
        "dagster/partition_row_count": day.count_rows(table),
        **describe_counts(day.counts[table]),
        "raw_calls": day.raw_calls,
        "non_final_calls": day.non_final,
        **({"told_by_webhooks_only": unconfirmed} if unconfirmed else {}),
        **({"unusable_values": unusable} if unusable else {}),
    }


def _record_one_by_one(
    context: dg.AssetExecutionContext, source: Source, loaded: Iterable[LoadedDay]
) -> None:
    """Record days that Dagster would not: the step is going to fail, or they are out of range."""
    names = _name_by_key(source)
    for key in context.selected_asset_keys:
        days = {day.day: _describe_day(day, names[key]) for day in loaded}
        log_materializations(context, key, days)


def build_table_spec(
    source: Source, table: Table, partitions: dg.PartitionsDefinition[str]
) -> dg.AssetSpec:
    """Build the spec of one table of a source."""
    return dg.AssetSpec(
        key=asset_key(source, table.name),
        deps=_list_upstream(source, table),
        partitions_def=partitions,
        group_name=source.group,
        owners=source.owners,
        description=(
            f"{source.caption}: {table.description}\n\n"
            f"One row per {table.grain}, key: {', '.join(table.key)}."
        ),
        kinds={"postgres", table.role},
        metadata={
            "dagster/column_schema": _build_schema(table),
            "dagster/table_name": f"{table.schema}.{table.name}",
            "grain": table.grain,
            "look_back_days": source.refresh.overlap_days,
            "filters": describe_filters(source.filters.get(table.name, ())),
        },
        skippable=True,
    )


def _list_upstream(source: Source, table: Table) -> list[dg.AssetKey]:
    """List what a table is made from; around a fact also the tables that its foreign keys name."""
    names = ["raw_calls", "webhook_calls"] if source.webhook else ["raw_calls"]
    if table.role == "fact":
        targets = {_name_target(column) for column in table.columns} & set(source.tables)
        names += sorted(targets - {table.name})
    return [asset_key(source, name) for name in names]


def build_column_lineage(source: Source, table: Table) -> dg.TableColumnLineage:
    """Say for each column of a table which columns upstream it is made from."""
    return dg.TableColumnLineage(
        {
            column.name: [_build_dependency(source, table, column)]
            for column in table.columns
            if not column.is_internal
        }
    )


def _name_target(column: Column) -> str:
    return (column.references or "").partition(".")[0]


def _build_dependency(source: Source, table: Table, column: Column) -> dg.TableColumnDep:
    target = _name_target(column)
    if target in source.tables and target != table.name:
        return dg.TableColumnDep(
            asset_key(source, target), str(column.references).partition(".")[2]
        )
    default = "called_at" if table.name == DATES else "payload"
    return dg.TableColumnDep(
        asset_key(source, "raw_calls"),
        _FROM_RAW_COLUMN.get((table.name, column.name), default),
    )


@cache
def _build_schema(table: Table) -> dg.TableSchema:
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=column.name,
                type=column.type,
                description=_describe_column(table, column),
                constraints=dg.TableColumnConstraints(
                    nullable=column.nullable, unique=(column.name,) == table.key
                ),
            )
            for column in table.columns
        ],
        constraints=dg.TableConstraints(other=[f"grain: {table.grain}"]),
    )


def _describe_column(table: Table, column: Column) -> str:
    unit = f" [{column.unit}]" if column.unit else ""
    target = f" → {column.references}" if column.references else ""
    origins = _list_origins(table.name, column.name)
    made_from = f" · from the raw call's {', '.join(origins)}" if origins else ""
    return f"{column.description}{unit}{target}{made_from}"


def _list_origins(table: str, column: str) -> tuple[str, ...]:
    """Return what of a raw call a column is made from."""
    for dimension in DIMENSIONS:
        if dimension.table == table and column in dimension.columns:
            column = dimension.values[dimension.columns.index(column)]
            return list_origins().get(column, ())
    return list_origins().get(column, ()) if table in {CALLS, FACTS} else ()
