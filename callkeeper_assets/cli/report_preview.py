"""`callkeeper report --preview`: a report's first rows as tables, from raw calls alone."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date, timedelta
from difflib import get_close_matches
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

from callkeeper_assets.cli.console import (
    build_table,
    print_error,
    print_json,
    print_table,
    print_text,
    print_warning,
)
from callkeeper_assets.config.errors import say_count
from callkeeper_assets.config.source import Source
from callkeeper_assets.home import raw_url
from callkeeper_assets.language import tr
from callkeeper_assets.raw.fields import CALL_FIELDS
from callkeeper_assets.raw.store import Day, RawStore
from callkeeper_assets.reports.definition import Report
from callkeeper_assets.reports.loading import Builder
from callkeeper_assets.reports.merge import StagedRow
from callkeeper_assets.reports.rows import JSON_TABLE, Reject, list_names

_MOST_ROWS: Final = 10
_MOST_REJECTS: Final = 5
_MOST_SHOWN: Final = 60


@dataclass
class PreviewTable:
    """The first rows of one table; values as PostgreSQL reads them, of JSON rows as JSON has them.

    Attributes:
        paths: by column, where its value is looked for in a call.
        total: rows found in the days that were read.
        filled: columns that have a value in one of these.
    """

    name: str
    columns: tuple[str, ...]
    paths: Mapping[str, str]
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    total: int = 0
    filled: set[str] = field(default_factory=set)

    def add(self, rows: list[tuple[Any, ...]], most_rows: int) -> None:
        """Count rows, and keep the first of them."""
        self.total += len(rows)
        self.rows += rows[: most_rows - len(self.rows)]
        for row in rows:
            self.filled.update(
                name for name, value in zip(self.columns, row, strict=True) if value is not None
            )


@dataclass(frozen=True)
class Unfound:
    """A field that a column's path names, and that no call has.

    Attributes:
        column: which is empty, with its table's name before it.
        similar: fields that calls have.
    """

    column: str
    name: str
    similar: Sequence[str]


@dataclass
class Preview:
    """What a report would make of some days: as many as it took to fill the tables.

    Attributes:
        calls: that pass the filters, of the days that were read.
        unfound: fields that are asked for and found in none of all calls of these days.
    """

    tables: list[PreviewTable]
    unfound: list[Unfound] = field(default_factory=list)
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
        return {JSON_TABLE: (PreviewTable(JSON_TABLE, columns, dict(report.fields)), _read_json)}
    return {
        table.name: (
            PreviewTable(
                table.name,
                tuple(column.name for column in table.columns),
                {column.name: column.path for column in table.columns},
            ),
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
    read_days = []
    with ExitStack() as stack:
        find_passing = _open_passing(report, zone, stack)
        for day in days:
            batch = builder.build([day], find_passing([day]))
            preview.days += 1
            preview.calls += sum(batch.calls.values())
            preview.rejects += [reject for _, reject in batch.rejects]
            for name, (table, read) in plan.items():
                table.add(list(map(read, batch.stages[name].rows.values())), most_rows)
            read_days.append(day)
            if preview.calls >= most_rows:
                break
    preview.unfound = list(_find_unfound(preview.tables, read_days))
    return preview


def _find_unfound(tables: Sequence[PreviewTable], days: Sequence[Day]) -> Iterator[Unfound]:
    """Yield the fields of empty columns that no call has, under that name, wherever in it."""
    empty = [
        (f"{table.name}.{name}", path)
        for table in tables
        for name, path in table.paths.items()
        if table.total and name not in table.filled
    ]
    known = _list_fields(days) if empty else set()
    for column, path in empty:
        for name in sorted(set(list_names(path)) - known):
            similar = (*_list_synonyms(name), *get_close_matches(name, known))
            yield Unfound(column, name, [one for one in dict.fromkeys(similar) if one in known])


def _list_synonyms(name: str) -> set[str]:
    """Return the other names of a field of this name: those of the API's other forms."""
    forms = [
        {path.rpartition(".")[2] for path in one.paths}
        for one in CALL_FIELDS
        if any(path.rpartition(".")[2] == name for path in one.paths)
    ]
    return set().union(*forms) - {name}


def _list_fields(days: Sequence[Day]) -> set[str]:
    found: set[str] = set()
    waiting: list[Any] = [
        msgspec.json.decode(payload) for day in days for payload in day.calls["payload"].to_pylist()
    ]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            found.update(value)
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    return found


def _open_passing(
    report: Report, zone: ZoneInfo, stack: ExitStack
) -> "Callable[[Sequence[Day]], Any]":
    if not report.filters:
        return lambda _: {}
    # DuckDB, which a report without filters need not pay for.
    from callkeeper_assets.reports.loading import open_filter  # noqa: PLC0415

    return stack.enter_context(open_filter(zone, [report])).find_passing


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
            tr(
                "Source '{name}': no raw calls are there for {first} to {last}. Load them: "
                "callkeeper load {name} --from {first} --to {last}",
                name=source.name,
                first=first,
                last=last,
            )
        )
    return found.days > 0


def _read_stored(store: RawStore, source: str, first: date, last: date) -> Iterator[Day]:
    days = (last - first).days + 1
    return store.read_days(source, (first + timedelta(days=number) for number in range(days)))


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
        "unfound": [
            {"column": one.column, "field": one.name, "similar": one.similar}
            for one in found.unfound
        ],
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
        print_text(
            tr(
                "{name}: {count} of {total} rows",
                name=table.name,
                count=len(table.rows),
                total=table.total,
            )
        )
        _print_rows(table)
    for absent in found.unfound:
        text = tr(
            "{column} is empty: `{field}` is found in none of the calls.",
            column=absent.column,
            field=absent.name,
        )
        similar = tr("Similar: {names}", names=", ".join(absent.similar)) if absent.similar else ""
        print_warning(f"{text} {similar}".rstrip())
    for one in found.rejects[:_MOST_REJECTS]:
        column = f".{one.column}" if one.column else ""
        print_warning(
            tr(
                "Left out: {table}{column} of call {call_id}: {reason}: {value}",
                table=one.table,
                column=column,
                call_id=one.call_id,
                reason=one.reason,
                value=one.value,
            )
        )
    if len(found.rejects) > _MOST_REJECTS:
        print_warning(
            tr("and {count} more values that do not fit.", count=len(found.rejects) - _MOST_REJECTS)
        )
    print_text(
        tr(
            "A preview of {days}: {calls} passed. Nothing is written.",
            days=say_count(found.days, "day"),
            calls=say_count(found.calls, "call"),
        )
    )


def _print_rows(table: PreviewTable) -> None:
    shown = build_table(*table.columns, are_names=True)
    for row in table.rows:
        shown.add_row(*map(_show, row))
    print_table(shown)


def _show(value: Any) -> str:  # noqa: ANN401 -- JSON
    """Return a value as a cell: one line, cut."""
    if value is None:
        return ""
    text = " ".join(str(value).split())
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 1]}…"
