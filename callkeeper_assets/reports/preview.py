"""The first rows that a report would have: built from raw calls, without a database."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from callkeeper_assets.calls.store import Day
from callkeeper_assets.reports.definition import Report
from callkeeper_assets.reports.loading import Builder
from callkeeper_assets.reports.merge import StagedRow
from callkeeper_assets.reports.rows import JSON_TABLE, Reject


@dataclass
class PreviewTable:
    """The first rows of one table; values as PostgreSQL reads them, of JSON rows as JSON has them.

    Attributes:
        total: rows found in the days that were read.
    """

    name: str
    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    total: int = 0


@dataclass
class Preview:
    """What a report would make of some days: as many as it took to fill the tables.

    Attributes:
        calls: that pass the filters, of the days that were read.
    """

    tables: list[PreviewTable]
    rejects: list[Reject] = field(default_factory=list)
    days: int = 0
    calls: int = 0


def _find_none(*_: object) -> tuple[str, ...]:
    return ()


def _read_json(row: StagedRow) -> tuple[Any, ...]:
    called_at, data = row.values
    return (row.call_id, called_at, *msgspec.json.decode(data or "{}").values())


def _read_values(row: StagedRow) -> tuple[Any, ...]:
    return row.values


def _plan(report: Report) -> dict[str, tuple[PreviewTable, Callable[[StagedRow], tuple[Any, ...]]]]:
    if not report.structure:
        columns = ("call_id", "called_at", *(name for name, _ in report.fields))
        return {JSON_TABLE: (PreviewTable(JSON_TABLE, columns), _read_json)}
    return {
        table.name: (
            PreviewTable(table.name, tuple(column.name for column in table.columns)),
            _read_values,
        )
        for table in report.structure
    }


def preview_report(
    report: Report, zone: ZoneInfo, days: Iterable[Day], *, most_rows: int
) -> Preview:
    """Build a report's first rows.

    Args:
        report: what to build.
        zone: the source's.
        days: in their order; read until so many calls pass the report's filters.
        most_rows: of each table.

    Raises:
        BadDataError: a call lies outside its day, or is not JSON.
    """
    plan = _plan(report)
    preview = Preview([table for table, _ in plan.values()])
    builder = Builder([report], [report], _find_none)
    with ExitStack() as stack:
        find_passing = _open_passing(report, zone, stack)
        for day in days:
            batch = builder.build([day], find_passing([day]))
            preview.days += 1
            preview.calls += sum(batch.calls.values())
            preview.rejects += [reject for _, reject in batch.rejects]
            for name, (table, read) in plan.items():
                rows = list(batch.stages[name].rows.values())
                table.total += len(rows)
                table.rows += map(read, rows[: most_rows - len(table.rows)])
            if preview.calls >= most_rows:
                break
    return preview


def _open_passing(
    report: Report, zone: ZoneInfo, stack: ExitStack
) -> "Callable[[Sequence[Day]], Any]":
    if not report.filters:
        return lambda _: {}
    # DuckDB, which a report without filters need not pay for.
    from callkeeper_assets.reports.loading import open_filter  # noqa: PLC0415

    return stack.enter_context(open_filter(zone, [report])).find_passing
