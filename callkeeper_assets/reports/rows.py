"""How a call becomes rows: of a report's tables, or one JSON row. No database.

What cannot become a row is a reject: its column, its value and the reason. A row with a reject is
left out whole; the call's other rows, and the other calls, are not.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from callkeeper_assets.reports.calls import Call
from callkeeper_assets.reports.definition import Report, ReportTable
from callkeeper_assets.reports.paths import Search, UnfitValueError, compile_path
from callkeeper_assets.reports.values import Convert, MisfitError, encode_json, find_converter

JSON_TABLE: Final = "callkeeper_reports"

# A row of PostgreSQL's index has about 2,700 bytes at most, account_id among them.
_MOST_KEY_BYTES: Final = 2_000
_MOST_SHOWN: Final = 1_000

Values = tuple[str | None, ...]


@dataclass(frozen=True)
class Reject:
    """One value that kept a row out.

    Attributes:
        position: of the row among the call's rows of the table, from 1.
        column: empty where the row as a whole is at fault.
        value: as JSON, cut.
        reason: shows no value.
    """

    table: str
    call_id: int
    position: int
    column: str
    value: str | None
    reason: str


class Row(NamedTuple):
    """One row: its values in the order of the table's columns, as PostgreSQL reads them."""

    position: int
    values: Values


Found = Iterator[Row | Reject]
Build = Callable[[Call], Found]


def show_value(value: Any) -> str | None:  # noqa: ANN401 -- JSON
    """Return a value for callkeeper_rejects: JSON, cut."""
    return None if value is None else encode_json(value)[:_MOST_SHOWN]


@dataclass(frozen=True)
class _Cell:
    name: str
    search: Search
    convert: Convert
    is_parent: bool
    is_key: bool


class _TableBuilder:
    """Builds the rows of one table of a report."""

    def __init__(self, table: ReportTable) -> None:
        self._table = table.name
        self._rows = compile_path(table.rows) if table.rows else None
        self._cells = [
            _Cell(
                column.name,
                compile_path(column.path),
                find_converter(column.type),
                is_parent=column.is_parent,
                is_key=column.name in table.key,
            )
            for column in table.columns
        ]
        self._key = [n for n, cell in enumerate(self._cells) if cell.is_key]

    def __call__(self, call: Call) -> Found:
        """Yield the call's rows, and what kept others out."""
        try:
            elements = self._list_elements(call.document)
        except UnfitValueError:
            yield Reject(self._table, call.call_id, 0, "", None, "rows: cannot take this call")
            return
        for position, element in enumerate(elements, start=1):
            yield from self._build(call, position, element)

    def _list_elements(self, document: Any) -> list[Any]:  # noqa: ANN401
        if self._rows is None:
            return [document]
        elements = self._rows(document)
        if not isinstance(elements, list):
            elements = [elements]
        return [element for element in elements if element is not None]

    def _build(self, call: Call, position: int, element: Any) -> Found:  # noqa: ANN401
        values: list[str | None] = []
        is_good = True
        for cell in self._cells:
            value = None
            try:
                value = cell.search(call.document if cell.is_parent else element)
                text = cell.convert(value)
                if text is None and cell.is_key:
                    raise MisfitError("is empty, and a key cannot be")  # noqa: TRY301
            except (MisfitError, UnfitValueError) as error:
                is_good = False
                reason = str(error) or "the path's function cannot take this value"
                yield self._reject(call, position, cell.name, show_value(value), reason)
            else:
                values.append(text)
        if not is_good:
            return
        size = sum(len(str(values[n]).encode()) for n in self._key)
        if size > _MOST_KEY_BYTES:
            reason = f"the key has {size} bytes, at most {_MOST_KEY_BYTES} are possible"
            yield self._reject(call, position, "", None, reason)
            return
        yield Row(position, tuple(values))

    def _reject(
        self, call: Call, position: int, column: str, value: str | None, reason: str
    ) -> Reject:
        return Reject(self._table, call.call_id, position, column, value, reason)


class _JsonBuilder:
    """Builds the one JSON row of a call."""

    def __init__(self, report: Report) -> None:
        self._fields = [(name, compile_path(path)) for name, path in report.fields]

    def __call__(self, call: Call) -> Found:
        """Yield the call's row; a field that is missing is null in it."""
        data = {}
        for name, search in self._fields:
            try:
                data[name] = search(call.document)
            except UnfitValueError:
                reason = f"the path of the field '{name}' cannot take this value"
                yield Reject(JSON_TABLE, call.call_id, 1, "data", None, reason)
                return
        yield Row(1, (call.called_at, encode_json(data)))


def plan_rows(report: Report) -> dict[str, Build]:
    """Return, by table that the report fills, the function that makes a call's rows of it."""
    if not report.structure:
        return {JSON_TABLE: _JsonBuilder(report)}
    return {table.name: _TableBuilder(table) for table in report.structure}
