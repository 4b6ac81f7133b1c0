"""Builds days of reports from raw calls, each read once, and puts them into the warehouse."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from itertools import chain
from typing import Any, Final
from zoneinfo import ZoneInfo

import duckdb
import psycopg

from callkeeper_assets.postgres import connect
from callkeeper_assets.postgres.locks import REPORTS_LOCK, lock_transaction
from callkeeper_assets.raw.store import Day
from callkeeper_assets.reports.definition import Report, StructureError
from callkeeper_assets.reports.merge import (
    JSON_TARGET,
    REJECTS_TARGET,
    MergeTarget,
    ReportMerger,
    ReportPart,
    Stage,
    StagedRow,
    build_target,
)
from callkeeper_assets.reports.rows import (
    JSON_TABLE,
    Build,
    BuiltDay,
    RefusedReport,
    Reject,
    ReportOutcome,
    ReportRow,
    find_undocumented,
    plan_rows,
    read_calls,
)
from callkeeper_assets.reports.structure import Connection, prepare_table
from callkeeper_assets.warehouse.call_sql import plan_load
from callkeeper_assets.warehouse.filters import build_condition
from callkeeper_assets.warehouse.load_log import LogHead, LogRow, find_account, insert_rows
from callkeeper_assets.warehouse.loader import group_days
from callkeeper_assets.warehouse.records import Account, RowCounts
from callkeeper_assets.warehouse.schema import CALLS, DATES, FACTS
from callkeeper_assets.warehouse.session import Session, explained
from callkeeper_assets.warehouse.transform import Transformer, open_duckdb

_FRESH = """
    SELECT r.report
    FROM unnest(%(reports)s::text[]) AS r (report)
    WHERE NOT EXISTS (
        SELECT FROM callkeeper_report_days AS d
        WHERE d.account_id = %(account_id)s AND d.report = r.report
    )
"""
_FIELDS = """
    SELECT report, field, day FROM callkeeper_report_fields
    WHERE account_id = %(account_id)s AND report = ANY(%(reports)s)
"""
_WRITE_FIELDS = """
    INSERT INTO callkeeper_report_fields (account_id, report, field, day)
    SELECT %(account_id)s, * FROM unnest(%(reports)s::text[], %(fields)s::text[], %(days)s::date[])
    ON CONFLICT (account_id, report, field) DO NOTHING
"""
_WRITE_DAYS = """
    INSERT INTO callkeeper_report_days (account_id, report, day, definition, calls, built_at)
    SELECT %(account_id)s, *, %(built_at)s
    FROM unnest(%(reports)s::text[], %(days)s::date[], %(definitions)s::text[], %(calls)s::int[])
    ON CONFLICT (account_id, report, day) DO UPDATE
    SET definition = excluded.definition, calls = excluded.calls, built_at = excluded.built_at
"""
# An index cannot hold longer ones.
_LONGEST_PATH: Final = 400

# What reports' filters may name columns of: facts, and with them calls.
FILTERED_TABLE = FACTS

# Report, day and the fields that the documentation does not name, to those that are new.
FindNewFields = Callable[[Report, date, Collection[str]], tuple[str, ...]]

_MOST_SAMPLE: Final = 10

# Of one transaction; ten reports of so many calls are some tens of megabytes of rows.
_BATCH_CALLS: Final = 5_000
_BATCH_DAYS: Final = 31


class ReportLog:
    """The log of one source's reports, for one load."""

    def __init__(
        self, connection: psycopg.Connection[Any], account_id: int, reports: Sequence[Report]
    ) -> None:
        self._connection = connection
        self._account_id = account_id
        self._digests = {report.name: report.digest for report in reports}
        values = {"account_id": account_id, "reports": list(self._digests)}
        # Nothing is new on the first day that a report is ever built for: it makes the list.
        self._fresh = {name for (name,) in connection.execute(_FRESH, values)}
        self._fields: dict[str, dict[str, date | None]] = {name: {} for name in self._digests}
        for report, name, day in connection.execute(_FIELDS, values):
            self._fields[report][name] = day
        self._met: list[tuple[str, str, date | None]] = []

    def find_new_fields(
        self, report: Report, day: date, undocumented: Collection[str]
    ) -> tuple[str, ...]:
        """Return the fields that no other day loaded before had, and remember them.

        A report that fails for them does not: they stay new until somebody accepts them.
        """
        known = self._fields[report.name]
        names = sorted({name[:_LONGEST_PATH] for name in undocumented})
        new = tuple(name for name in names if known.get(name, day) == day)
        if report.name in self._fresh:
            self._fresh.discard(report.name)
            self._remember(report.name, new, None)
            return ()
        if report.on_new_field != "fail":
            self._remember(report.name, new, day)
        return () if report.on_new_field == "ignore" else new

    def _remember(self, report: str, names: Collection[str], day: date | None) -> None:
        known = self._fields[report]
        self._met += [(report, name, day) for name in names if name not in known]
        known.update((name, day) for name in names if name not in known)

    def write_fields(self) -> None:
        """Write the fields met since the last writing."""
        reports, fields, days = zip(*self._met, strict=True) if self._met else ((), (), ())
        self._met = []
        self._connection.execute(
            _WRITE_FIELDS,
            {
                "account_id": self._account_id,
                "reports": list(reports),
                "fields": list(fields),
                "days": list(days),
            },
        )

    def write_days(self, calls: Mapping[ReportPart, int], built_at: datetime) -> None:
        """Note that reports' days are built, and from how many calls."""
        self._connection.execute(
            _WRITE_DAYS,
            {
                "account_id": self._account_id,
                "reports": [report for report, _ in calls],
                "days": [day for _, day in calls],
                "definitions": [self._digests[report] for report, _ in calls],
                "calls": list(calls.values()),
                "built_at": built_at,
            },
        )

    def write_log(
        self,
        counts: Mapping[ReportPart, Mapping[str, RowCounts]],
        run_id: str,
        started_at: datetime,
    ) -> None:
        """Log what was done to each table of each report's day."""
        rows = [
            LogRow(table, day, of_table, report=report)
            for (report, day), tables in counts.items()
            for table, of_table in tables.items()
        ]
        insert_rows(self._connection, self._head(run_id, started_at), rows)

    def write_refusals(
        self,
        refused: Collection[RefusedReport],
        run_id: str,
        started_at: datetime,
        day: date | None = None,
    ) -> None:
        """Log why reports were not built; what is refused for any day is logged under `day`."""
        rows = [
            LogRow(None, one.day or day, error=one.reason, report=one.report) for one in refused
        ]
        insert_rows(self._connection, self._head(run_id, started_at), rows)

    def _head(self, run_id: str, started_at: datetime) -> LogHead:
        return LogHead(self._account_id, run_id, "api", started_at)


class CallFilter:
    """Asks the filters of several reports of one source."""

    def __init__(
        self, duck: duckdb.DuckDBPyConnection, zone: ZoneInfo, reports: Iterable[Report]
    ) -> None:
        self._duck = duck
        self._conditions = {
            one.name: build_condition(FILTERED_TABLE, one.filters, zone)
            for one in reports
            if one.filters
        }
        filters = [each for one in reports for each in one.filters]
        # All of them, for the raw fields that they ask for; what they keep is not looked at.
        plan = plan_load((DATES, CALLS, FACTS), {FILTERED_TABLE: filters}, zone)
        self._transformer = Transformer(duck, zone, plan)

    def find_passing(self, days: Sequence[Day]) -> Mapping[str, frozenset[int]]:
        """Return, by report with filters, the ids of the days' calls that pass.

        Raises:
            BadDataError: a call lies outside its day, or is not JSON.
        """
        if not self._conditions:
            return {}
        frame = self._transformer.transform(days).frame
        passing = {}
        for name, condition in self._conditions.items():
            found = self._duck.execute(
                f"SELECT call_id FROM {frame} WHERE {condition.sql}",  # noqa: S608 -- see filters
                list(condition.values),
            )
            passing[name] = frozenset(row[0] for row in found.fetchall())
        self._duck.execute(f"DROP TABLE {frame}")
        return passing


@contextmanager
def open_filter(zone: ZoneInfo, reports: Sequence[Report]) -> Iterator[CallFilter]:
    """Open the filters of reports, with a DuckDB of their own."""
    with open_duckdb() as duck:
        yield CallFilter(duck, zone, reports)


@dataclass
class ReportBatch:
    """What is staged of some days: rows by table, and what is known of each report's day."""

    stages: dict[str, Stage]
    rejects: list[tuple[ReportPart, Reject]] = field(default_factory=list)
    raw_calls: dict[date, int] = field(default_factory=dict)
    calls: dict[ReportPart, int] = field(default_factory=dict)
    new_fields: dict[ReportPart, tuple[str, ...]] = field(default_factory=dict)
    refused: list[RefusedReport] = field(default_factory=list)

    @property
    def parts(self) -> list[ReportPart]:
        """The reports' days that are replaced, in order."""
        return sorted(self.calls, key=lambda part: (part[1], part[0]))

    def add(self, part: ReportPart, table: str, call_id: int, found: ReportRow | Reject) -> None:
        """Stage a row, or note what kept it out."""
        reject: Reject | None
        if isinstance(found, ReportRow):
            row = StagedRow(part[0], part[1], call_id, found.position, found.values)
            reject = self.stages[table].add(row)
        else:
            reject = found
        if reject is not None:
            self.rejects.append((part, reject))

    def refuse(self, part: ReportPart, reason: str) -> None:
        """Take out what is staged of a report's day: it is not replaced."""
        for stage in self.stages.values():
            for key, row in list(stage.rows.items()):
                if (row.report, row.day) == part:
                    del stage.rows[key]
        self.rejects = [one for one in self.rejects if one[0] != part]
        del self.calls[part]
        self.refused.append(RefusedReport(*part, reason))

    def describe(self, counts: Mapping[ReportPart, Mapping[str, RowCounts]]) -> list[BuiltDay]:
        """Return what came of each report's day; `counts` is what changed in each table."""
        rows = {part: dict.fromkeys(counts[part], 0) for part in self.parts}
        for table, stage in self.stages.items():
            for row in stage.rows.values():
                rows[row.report, row.day][table] += 1
        rejects: dict[ReportPart, list[Reject]] = defaultdict(list)
        for part, reject in self.rejects:
            rejects[part].append(reject)
        return [
            BuiltDay(
                report=part[0],
                day=part[1],
                raw_calls=self.raw_calls[part[1]],
                calls=self.calls[part],
                rows=rows[part],
                counts=counts[part],
                rejects=len(rejects[part]),
                sample=tuple(rejects[part][:_MOST_SAMPLE]),
                new_fields=self.new_fields[part],
            )
            for part in self.parts
        ]


class Builder:
    """Builds batches of some reports of one source."""

    def __init__(
        self,
        reports: Sequence[Report],
        configured: Sequence[Report],
        find_new_fields: FindNewFields,
    ) -> None:
        self._reports = reports
        self._find_new_fields = find_new_fields
        self.plans: dict[str, dict[str, Build]] = {r.name: plan_rows(r) for r in reports}
        self.targets = _plan_targets(reports, configured)

    def build(self, days: Sequence[Day], passing: Mapping[str, frozenset[int]]) -> ReportBatch:
        """Stage days, in their order.

        Args:
            days: in any order.
            passing: by report with filters, the ids of the calls that pass.

        Raises:
            BadDataError: a call is not JSON.
        """
        batch = ReportBatch({name: Stage(target) for name, target in self.targets.items()})
        for raw in sorted(days, key=lambda one: one.day):
            batch.raw_calls[raw.day] = raw.calls.num_rows
            undocumented = self._build_day(batch, raw, passing)
            for report in self._reports:
                part = (report.name, raw.day)
                new = self._find_new_fields(report, raw.day, undocumented)
                batch.new_fields[part] = new
                if new and report.on_new_field == "fail":
                    batch.refuse(part, _describe_new_fields(report, raw.day, new))
        return batch

    def _build_day(
        self, batch: ReportBatch, raw: Day, passing: Mapping[str, frozenset[int]]
    ) -> set[str]:
        """Stage a day's rows; return the fields that the documentation does not name."""
        undocumented: set[str] = set()
        plans = [
            ((report.name, raw.day), passing.get(report.name), self.plans[report.name])
            for report in self._reports
        ]
        for part, _, _ in plans:
            batch.calls[part] = 0
        for call in read_calls(raw.day, raw.calls):
            find_undocumented(call.document, undocumented)
            for part, passed, builders in plans:
                if passed is not None and call.call_id not in passed:
                    continue
                batch.calls[part] += 1
                for table, build in builders.items():
                    for found in build(call):
                        batch.add(part, table, call.call_id, found)
        return undocumented


def _plan_targets(
    reports: Sequence[Report], configured: Sequence[Report]
) -> dict[str, MergeTarget]:
    targets: dict[str, MergeTarget] = {}
    for report in reports:
        for table in report.structure:
            fillers = [
                one.name for one in configured if table.name in {t.name for t in one.structure}
            ]
            targets.setdefault(table.name, build_target(table, fillers))
        if not report.structure:
            targets.setdefault(JSON_TABLE, JSON_TARGET)
    return targets


def _describe_new_fields(report: Report, day: date, new: Sequence[str]) -> str:
    return (
        f"The report '{report.name}' is not built for {day}: its raw calls have fields that no "
        f"day before had ({', '.join(new[:_MOST_SAMPLE])}), and on_new_field is 'fail'. If they "
        f"are welcome, set on_new_field to 'warn', build the day, and set it back."
    )


class _Load:
    """The database's side of one load, over one connection."""

    def __init__(
        self, connection: Connection, account_id: int, builder: Builder, log: ReportLog, run_id: str
    ) -> None:
        self._connection = connection
        self._account_id = account_id
        self._builder = builder
        self._log = log
        self._run_id = run_id
        self._mergers = {
            target.table: ReportMerger(connection, target, number)
            for number, target in enumerate([*builder.targets.values(), REJECTS_TARGET])
        }

    def merge(self, batch: ReportBatch, read_at: datetime) -> list[ReportOutcome]:
        """Replace the batch's days, in one transaction."""
        counts: dict[ReportPart, dict[str, RowCounts]] = defaultdict(dict)
        with self._connection.transaction():
            lock_transaction(self._connection, REPORTS_LOCK, self._account_id)
            for table, stage in batch.stages.items():
                self._merge_table(batch, table, stage, counts)
            self._merge_rejects(batch)
            self._log.write_days({part: batch.calls[part] for part in batch.parts}, read_at)
            self._log.write_fields()
            self._log.write_log(counts, self._run_id, read_at)
            self._log.write_refusals(batch.refused, self._run_id, read_at)
        outcomes: list[ReportOutcome] = [*batch.describe(counts), *batch.refused]
        return sorted(outcomes, key=lambda one: (one.day or date.min, one.report))

    def _merge_table(
        self,
        batch: ReportBatch,
        table: str,
        stage: Stage,
        counts: dict[ReportPart, dict[str, RowCounts]],
    ) -> None:
        merger = self._mergers[table]
        parts = [part for part in batch.parts if table in self._builder.plans[part[0]]]
        merger.stage(stage.rows.values())
        held = merger.find_held(self._account_id, parts)
        batch.rejects += [((row.report, row.day), reject) for row, reject in stage.drop_held(held)]
        written = {"loaded_at": datetime.now(UTC)} if table == JSON_TABLE else {}
        for part, changed in merger.replace(self._account_id, parts, written).items():
            counts[part][table] = changed

    def _merge_rejects(self, batch: ReportBatch) -> None:
        stage = Stage(REJECTS_TARGET)
        for (report, day), one in batch.rejects:
            values = (one.table, str(one.position), one.column, one.value, one.reason)
            stage.add(StagedRow(report, day, one.call_id, one.position, values))
        merger = self._mergers[REJECTS_TARGET.table]
        merger.stage(stage.rows.values())
        merger.find_held(self._account_id, batch.parts)
        merger.replace(self._account_id, batch.parts, {"run_id": self._run_id})


def _prepare(
    url: str, connection: Connection, account: Account, reports: Sequence[Report]
) -> tuple[list[Report], list[RefusedReport]]:
    """Make the reports' tables; a report whose table cannot be its own is refused alone."""
    good: list[Report] = []
    refused: list[RefusedReport] = []
    for report in reports:
        try:
            for table in report.structure:
                prepare_table(url, connection, table, f"{account.name}/{report.name}")
            good.append(report)
        except StructureError as error:
            reason = f"The report '{report.name}' is not built: {error}"
            refused.append(RefusedReport(report.name, None, reason))
    return good, refused


def load_reports(
    url: str,
    account: Account,
    days: Iterable[Day],
    *,
    reports: Sequence[Report],
    configured: Sequence[Report],
    run_id: str,
) -> Iterator[ReportOutcome]:
    """Build reports for days; yields what came of each report's day once it is committed.

    Args:
        url: of the database, whose schema is this version's.
        account: the source.
        days: in their order, each once; read lazily, a day ahead of the batch that is yielded.
        reports: what to build.
        configured: all reports of the source: rows of others hold no keys any more.
        run_id: goes into the load log.

    Raises:
        BadDataError: a call lies outside its day, or is not JSON; nothing of its batch is stored.
        DatabaseError: the database cannot be reached, or is too old.
        UnavailableError: it went away; nothing of the batch is stored.
        WarehouseError: it refuses; nothing of the batch is stored.
    """
    with Session(url) as session:
        account_id = find_account(session, account).account_id
    groups = ((read_at, group) for read_at, group in group_days(days, _BATCH_CALLS) if group)
    first = next(groups, None)
    if first is None:
        return
    first_read_at, (first_day, *_) = first
    with ExitStack() as stack:
        connection = stack.enter_context(connect(url, autocommit=True))
        stack.enter_context(explained("take the rows of reports"))
        good, refused = _prepare(url, connection, account, reports)
        log = ReportLog(connection, account_id, good)
        log.write_refusals(refused, run_id, first_read_at, day=first_day.day)
        yield from refused
        if not good:
            return
        builder = Builder(good, configured, log.find_new_fields)
        load = _Load(connection, account_id, builder, log, run_id)
        passing: CallFilter | None = None
        if any(report.filters for report in good):
            passing = stack.enter_context(open_filter(account.time_zone, good))
        for read_at, group in chain([first], groups):
            passed = passing.find_passing(group) if passing else {}
            yield from load.merge(builder.build(group, passed), read_at)
