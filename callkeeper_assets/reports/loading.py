"""Builds days of reports from raw calls and puts them into the warehouse.

A day's raw calls are read once for all reports of a load. Days are taken in batches; a batch is one
transaction, with its rows of the load log, so a report's day is replaced whole or not at all.
Memory holds one batch, however long the period. The reports of a source are written by one load
at a time; loads of other sources, and of the star schema, are not waited for.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, date, datetime
from itertools import chain
from typing import Final

import psycopg

from callkeeper_assets.database import connect
from callkeeper_assets.database.locks import REPORTS_LOCK, lock_transaction
from callkeeper_assets.raw.days import Day
from callkeeper_assets.reports.books import Books
from callkeeper_assets.reports.definition import Report
from callkeeper_assets.reports.errors import StructureError
from callkeeper_assets.reports.merge import REJECTS_TARGET, Merger, Part, Stage, StagedRow
from callkeeper_assets.reports.outcomes import Outcome, RefusedReport
from callkeeper_assets.reports.passing import CallFilter, open_filter
from callkeeper_assets.reports.rows import JSON_TABLE
from callkeeper_assets.reports.staging import Batch, Builder
from callkeeper_assets.reports.structure import Connection, prepare_table
from callkeeper_assets.warehouse.account_row import find_account
from callkeeper_assets.warehouse.batches import group_days
from callkeeper_assets.warehouse.records import Account, RowCounts
from callkeeper_assets.warehouse.session import Session, explain_error

# Of one transaction; ten reports of so many calls are some tens of megabytes of rows.
_BATCH_CALLS: Final = 5_000
_BATCH_DAYS: Final = 31


class _Load:
    """The database's side of one load, over one connection."""

    def __init__(
        self, connection: Connection, account_id: int, builder: Builder, books: Books, run_id: str
    ) -> None:
        self._connection = connection
        self._account_id = account_id
        self._builder = builder
        self._books = books
        self._run_id = run_id
        (schema,) = connection.execute("SELECT current_schema()").fetchone() or ("public",)
        self._mergers = {
            target.table: Merger(connection, schema, target, number)
            for number, target in enumerate([*builder.targets.values(), REJECTS_TARGET])
        }

    def merge(self, batch: Batch, read_at: datetime) -> list[Outcome]:
        """Replace the batch's days, in one transaction."""
        counts: dict[Part, dict[str, RowCounts]] = defaultdict(dict)
        with self._connection.transaction():
            lock_transaction(self._connection, REPORTS_LOCK, self._account_id)
            for table, stage in batch.stages.items():
                self._merge_table(batch, table, stage, counts)
            self._merge_rejects(batch)
            self._books.write_days({part: batch.calls[part] for part in batch.parts}, read_at)
            self._books.write_fields()
            self._books.write_log(counts, self._run_id, read_at)
            self._books.write_refusals(batch.refused, self._run_id, read_at)
        outcomes: list[Outcome] = [*batch.describe(counts), *batch.refused]
        return sorted(outcomes, key=lambda one: (one.day or date.min, one.report))

    def _merge_table(
        self, batch: Batch, table: str, stage: Stage, counts: dict[Part, dict[str, RowCounts]]
    ) -> None:
        merger = self._mergers[table]
        parts = [part for part in batch.parts if table in self._builder.plans[part[0]]]
        merger.stage(stage.rows.values())
        held = merger.find_held(self._account_id, parts)
        batch.rejects += [((row.report, row.day), reject) for row, reject in stage.drop_held(held)]
        written = {"loaded_at": datetime.now(UTC)} if table == JSON_TABLE else {}
        for part, changed in merger.replace(self._account_id, parts, written).items():
            counts[part][table] = changed

    def _merge_rejects(self, batch: Batch) -> None:
        stage = Stage(REJECTS_TARGET)
        for (report, day), one in batch.rejects:
            values = (one.table, str(one.position), one.column, one.value, one.reason)
            stage.add(StagedRow(report, day, one.call_id, one.position, values))
        merger = self._mergers[REJECTS_TARGET.table]
        merger.stage(stage.rows.values())
        merger.find_held(self._account_id, batch.parts)
        merger.replace(self._account_id, batch.parts, {"run_id": self._run_id})


@contextmanager
def _explained() -> Iterator[None]:
    """Raise the driver's errors as the warehouse's, without the values in them."""
    try:
        yield
    except psycopg.Error as error:
        text = error.diag.message_primary or str(error)
        raise explain_error(error.sqlstate or "", text, "take the rows of reports") from None


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
) -> Iterator[Outcome]:
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
        stack.enter_context(_explained())
        good, refused = _prepare(url, connection, account, reports)
        books = Books(connection, account_id, good)
        books.write_refusals(refused, run_id, first_read_at, day=first_day.day)
        yield from refused
        if not good:
            return
        builder = Builder(good, configured, books.find_new_fields)
        load = _Load(connection, account_id, builder, books, run_id)
        passing: CallFilter | None = None
        if any(report.filters for report in good):
            passing = stack.enter_context(open_filter(account.time_zone, good))
        for read_at, group in chain([first], groups):
            passed = passing.find_passing(group) if passing else {}
            yield from load.merge(builder.build(group, passed), read_at)
