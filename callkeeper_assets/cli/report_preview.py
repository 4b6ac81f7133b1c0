"""`callkeeper report --preview`: a report's first rows as tables, from raw calls alone."""

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any, Final

from callkeeper_assets.calls.store import Day, MissingDayError, RawStore
from callkeeper_assets.cli.console import (
    build_table,
    print_error,
    print_json,
    print_table,
    print_text,
    print_warning,
)
from callkeeper_assets.config.source import Source
from callkeeper_assets.home import raw_url
from callkeeper_assets.reports.definition import Report
from callkeeper_assets.reports.preview import Preview, PreviewTable, preview_report

_MOST_ROWS: Final = 10
_MOST_REJECTS: Final = 5
_MOST_SHOWN: Final = 60


def show_preview(source: Source, report: Report, first: date, last: date, *, as_json: bool) -> bool:
    """Print the report's first rows; return whether there were raw calls to build them from."""
    found = preview_report(
        report,
        source.time_zone,
        _read_stored(RawStore(raw_url()), source.name, first, last),
        most_rows=_MOST_ROWS,
    )
    if as_json:
        print_json(_build_document(report, found))
    elif found.days:
        _print_preview(found)
    if not found.days:
        print_error(
            f"Source '{source.name}': no raw calls are there for {first} to {last}. Load them: "
            f"callkeeper load {source.name} --from {first} --to {last}"
        )
    return found.days > 0


def _read_stored(store: RawStore, source: str, first: date, last: date) -> Iterator[Day]:
    for number in range((last - first).days + 1):
        day = first + timedelta(days=number)
        try:
            yield store.read(source, day)
        except MissingDayError:
            continue


def _build_document(report: Report, found: Preview) -> dict[str, Any]:
    return {
        "ok": found.days > 0,
        "report": report.name,
        "days": found.days,
        "calls": found.calls,
        "tables": {
            table.name: {
                "columns": table.columns,
                "rows": [dict(zip(table.columns, row, strict=True)) for row in table.rows],
                "total": table.total,
            }
            for table in found.tables
        },
        "rejects": [
            {
                "table": one.table,
                "call_id": one.call_id,
                "column": one.column,
                "value": one.value,
                "reason": one.reason,
            }
            for one in found.rejects
        ],
    }


def _print_preview(found: Preview) -> None:
    for table in found.tables:
        print_text(f"{table.name}: {len(table.rows)} of {table.total} rows")
        _print_rows(table)
    for one in found.rejects[:_MOST_REJECTS]:
        column = f".{one.column}" if one.column else ""
        print_warning(
            f"Left out: {one.table}{column} of call {one.call_id}: {one.reason}: {one.value}"
        )
    if len(found.rejects) > _MOST_REJECTS:
        print_warning(f"and {len(found.rejects) - _MOST_REJECTS} more values that do not fit.")
    print_text(
        f"A preview: {found.days} days were read, {found.calls} calls pass. Nothing is written."
    )


def _print_rows(table: PreviewTable) -> None:
    shown = build_table(*table.columns)
    for row in table.rows:
        shown.add_row(*map(_show, row))
    print_table(shown)


def _show(value: Any) -> str:  # noqa: ANN401 -- JSON
    """Return a value as a cell: one line, cut."""
    if value is None:
        return ""
    text = " ".join(str(value).split())
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 1]}…"
