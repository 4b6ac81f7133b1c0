"""Reports and their loads for these tests: small, typed builders over the warehouse's raw days."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import psycopg

from callkeeper_assets.raw.store import Day
from callkeeper_assets.reports.definition import ColumnType, Report, ReportColumn, ReportTable
from callkeeper_assets.reports.loading import load_reports
from callkeeper_assets.reports.rows import BuiltDay, ReportOutcome
from callkeeper_assets.warehouse.migrate import ensure_schema
from callkeeper_assets.warehouse.records import Account
from callkeeper_assets_tests.warehouse.raw_days import MAIN


def table(
    name: str, key: str, columns: Mapping[str, tuple[str, ColumnType]], rows: str | None = None
) -> ReportTable:
    """Return a table; a path that begins with `^` is the parent's, key names part by blanks."""
    return ReportTable(
        name=name,
        key=tuple(key.split()),
        columns=tuple(
            ReportColumn(column, path.removeprefix("^"), kind, is_parent=path.startswith("^"))
            for column, (path, kind) in columns.items()
        ),
        rows=rows,
    )


def build(
    url: str,
    days: Iterable[Day],
    *reports: Report,
    account: Account = MAIN,
    configured: Sequence[Report] | None = None,
    run_id: str = "run",
) -> list[ReportOutcome]:
    """Build reports for days."""
    ensure_schema(url)
    return list(
        load_reports(
            url, account, days, reports=reports, configured=configured or reports, run_id=run_id
        )
    )


def build_all(
    url: str, days: Iterable[Day], *reports: Report, account: Account = MAIN
) -> list[BuiltDay]:
    """Build reports of which none may be refused."""
    outcomes = build(url, days, *reports, account=account)
    assert all(isinstance(one, BuiltDay) for one in outcomes), outcomes
    return [one for one in outcomes if isinstance(one, BuiltDay)]


def changes(built: Iterable[ReportOutcome]) -> dict[str, tuple[int, int, int]]:
    """Return rows added, updated and deleted, by table."""
    total: dict[str, tuple[int, int, int]] = {}
    for one in built:
        assert isinstance(one, BuiltDay), one
        for name, c in one.counts.items():
            a, u, d = total.get(name, (0, 0, 0))
            total[name] = (a + c.added, u + c.updated, d + c.deleted)
    return total


def fetch(url: str, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
    """Return a query's rows."""
    with psycopg.connect(url) as connection:
        return connection.execute(statement.encode(), values).fetchall()


def read_tuples(url: str, name: str) -> list[tuple[str, str]]:
    """Return where each row of a table lies, and the transaction that wrote it."""
    return fetch(url, f'SELECT ctid::text, xmin::text FROM "{name}" ORDER BY 1')
