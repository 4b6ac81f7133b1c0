"""A query's rows, and files of them that other programs open: CSV for Excel, XLSX, Parquet.

Rows come by a cursor of the server, in a read-only transaction, and go out as they come: memory
does not grow with them. psycopg, not ADBC: a person's query has values of any type, which become
text as PostgreSQL writes it. A text that Excel would run as a formula never stays one.
"""

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import date, datetime, time
from decimal import Decimal
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

import psycopg
from psycopg.types.string import TextLoader

from callkeeper_assets.analysis.columns import BECOME_READER, ReadingError
from callkeeper_assets.language import tr
from callkeeper_assets.postgres import connect

if TYPE_CHECKING:
    import pyarrow as pa
    import xlsxwriter

Row = tuple[Any, ...]

_ROWS_AT_ONCE: Final = 5_000
# What a cursor can be declared for, and what else answers a question. Nothing but these is run: a
# read-only transaction lets DO and COPY start programs.
_STREAMED: Final = ("select", "with", "values", "table", "(")
_OTHERS: Final = ("show", "explain")
_BLANK: Final = re.compile(r"(?:[\s;]|--[^\n]*(?:\n|$)|/\*.*?\*/)*", re.DOTALL)
_READ_ONLY: Final = "25006"
_FORBIDDEN: Final = "42501"
# What a value keeps its type for; all others are read as text.
_TYPED: Final = frozenset(
    "int2 int4 int8 float4 float8 numeric bool date time timestamp timestamptz".split()  # noqa: SIM905
)
# Excel runs what begins so, after blanks as well; in eastern fonts' width, too.
_FORMULA: Final = re.compile(r"\s*[=+\-@＝＋－＠]|[\t\r\n]")
_NUMBER: Final = re.compile(r"[+-]?\d+([.,]\d+)?")
# Excel keeps fifteen digits of a number.
_EXACT: Final = 10**15
_LAST_ROW_OF_SHEET: Final = 1_048_576
_LONGEST_CELL: Final = 32_767
_FIRST_YEAR_OF_EXCEL: Final = 1900


class Rows:
    """A query's rows, to be gone through once.

    Attributes:
        names: of its columns.
        types: PostgreSQL's names of their types.
    """

    def __init__(self, names: Sequence[str], types: Sequence[str], rows: Iterator[Row]) -> None:
        self.names = tuple(names)
        self.types = tuple(types)
        self._rows = rows

    def __iter__(self) -> Iterator[Row]:
        return self._rows

    def in_blocks(self) -> Iterator[list[Row]]:
        """Yield some thousands at a time; none is empty."""
        block: list[Row] = []
        for row in self._rows:
            block.append(row)
            if len(block) == _ROWS_AT_ONCE:
                yield block
                block = []
        if block:
            yield block


@contextmanager
def run_query(statement: str, zone: ZoneInfo, url: str | None = None) -> Iterator[Rows]:
    """Run a statement in a read-only transaction; its rows are there inside the block.

    Args:
        statement: one, in PostgreSQL's SQL.
        zone: in which moments are shown, and what a day or a time without a zone means.
        url: of the database; None asks for it.

    Raises:
        ReadingError: It is empty, several at once, wrong, or it would write.
        DatabaseError: No connection.
    """
    text = _BLANK.sub("", statement, count=1)
    word = text.lower()
    if not text:
        raise ReadingError('The query is empty. Write one as "SELECT …".')
    if not word.startswith(_STREAMED + _OTHERS):
        raise ReadingError(
            tr(
                '{word} is not for here, as nothing is changed: write a "SELECT …" (or WITH, '
                "VALUES, TABLE, SHOW, EXPLAIN).",
                word=text.split(maxsplit=1)[0][:30].upper(),
            )
        )
    try:
        encoded = text.encode()
    except UnicodeEncodeError:
        raise ReadingError(tr("The query is not UTF-8: its letters cannot be read.")) from None
    if b"\0" in encoded:
        raise ReadingError(tr("The query holds a zero byte: it is no text."))
    with connect(url) as connection:
        connection.read_only = True
        for kind in connection.adapters.types:
            if kind.name not in _TYPED:
                connection.adapters.register_loader(kind.oid, TextLoader)
            if kind.array_oid:
                connection.adapters.register_loader(kind.array_oid, TextLoader)
        _begin(connection, zone)
        is_streamed = word.startswith(_STREAMED)
        try:
            with connection.cursor("callkeeper_query" if is_streamed else "") as cursor:
                yield _fetch(cursor, encoded, zone)
        except psycopg.OperationalError:
            raise
        except psycopg.Error as error:
            raise _explain(error) from None


def _begin(connection: psycopg.Connection[Row], zone: ZoneInfo) -> None:
    """Begin the transaction: as a reader, and with days and times without a zone as the zone's.

    A server that does not know the zone stays with UTC.
    """
    connection.execute(BECOME_READER)
    with suppress(psycopg.DataError), connection.transaction():
        connection.execute("SELECT set_config('TimeZone', %s, true)", (zone.key,))


def _fetch(
    cursor: psycopg.Cursor[Row] | psycopg.ServerCursor[Row], statement: bytes, zone: ZoneInfo
) -> Rows:
    if isinstance(cursor, psycopg.ServerCursor):
        cursor.itersize = _ROWS_AT_ONCE
        cursor.execute(statement)
    else:
        # Prepared, a text can be but one statement.
        cursor.execute(statement, prepare=True)
    if cursor.description is None:
        raise ReadingError('The statement gives no rows. Write one as "SELECT …".')
    types = [column.type_display.partition("(")[0] for column in cursor.description]
    names = [column.name for column in cursor.description]
    rows: Iterator[Row] = iter(cursor)
    if "timestamptz" in types:
        rows = (tuple(_localise(value, zone) for value in row) for row in rows)
    return Rows(names, types, rows)


def _localise(value: object, zone: ZoneInfo) -> object:
    is_moment = isinstance(value, datetime) and value.tzinfo is not None
    return value.astimezone(zone) if is_moment else value  # type: ignore[attr-defined]


def _explain(error: psycopg.Error) -> ReadingError:
    said = error.diag.message_primary or str(error)
    hint = f" {error.diag.message_hint}" if error.diag.message_hint else ""
    if error.sqlstate == _READ_ONLY:
        return ReadingError(
            tr(
                "The statement would write, and this command only reads; the server refused it: "
                "{said}.",
                said=said,
            )
        )
    if error.sqlstate == _FORBIDDEN:
        return ReadingError(
            tr("This command only reads tables; the server refused: {said}.", said=said)
        )
    return ReadingError(tr("PostgreSQL refuses the query: {said}.{hint}", said=said, hint=hint))


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Give a place beside a file to write it to; it takes the file's place if all went well.

    A link stays one: the file that it leads to is replaced.

    Raises:
        ReadingError: It cannot be written, or is no file: a folder, a device, a pipe.
    """
    path = path.resolve()
    if path.exists() and not path.is_file():
        raise ReadingError(
            tr("{path} is no file: name one, or - for standard output with --csv.", path=path)
        )
    try:
        with TemporaryDirectory(prefix=".callkeeper-query-", dir=path.parent) as folder:
            beside = Path(folder) / path.name
            yield beside
            beside.replace(path)
    except OSError as error:
        raise ReadingError(
            tr("{path} cannot be written: {problem}.", path=path, problem=error.strerror or error)
        ) from None


def _guard_formula(text: str) -> str:
    """Return a text that Excel takes for one: an apostrophe stands before what it would run."""
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def _write_csv_cell(value: object) -> str:
    """Return a value as Excel with Russian settings reads it: a comma in numbers, local time."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case float() | Decimal():
            text = f"{value:f}" if isinstance(value, Decimal) else repr(value)
            return text.replace(".", ",")
        case datetime():
            return value.replace(tzinfo=None).isoformat(" ", "seconds")
        case int() | date() | time():
            return str(value)
        case _:
            return _guard_formula(str(value))


def write_csv(rows: Rows, file: IO[str]) -> int:
    """Write rows as CSV for Excel: `;` between cells, a comma in numbers, CRLF; return their count.

    The mark at the beginning says UTF-8 to Excel, which otherwise takes Cyrillic for another code.
    """
    file.write("\ufeff")
    writer = csv.writer(file, delimiter=";", lineterminator="\r\n")
    writer.writerow([_guard_formula(name) for name in rows.names])
    count = 0
    for block in rows.in_blocks():
        writer.writerows([_write_csv_cell(value) for value in row] for row in block)
        count += len(block)
    return count


def write_xlsx(rows: Rows, path: Path) -> int:
    """Write rows as a workbook; a sheet that is full is followed by another. Return their count.

    A text is a text: neither a formula nor a link. Whole numbers of more than fifteen digits, which
    Excel would round, are texts too.
    """
    import xlsxwriter  # noqa: PLC0415 -- who wants no workbook need not load it

    options = {
        "constant_memory": True,
        "strings_to_formulas": False,
        "strings_to_urls": False,
        "strings_to_numbers": False,
        "tmpdir": str(path.parent),
    }
    count = 0
    with xlsxwriter.Workbook(str(path), options) as book:
        formats = {
            datetime: book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"}),
            date: book.add_format({"num_format": "yyyy-mm-dd"}),
            time: book.add_format({"num_format": "hh:mm:ss"}),
        }
        sheet = _add_sheet(book, rows.names)
        at = 0
        for row in rows:
            at += 1
            if at == _LAST_ROW_OF_SHEET:
                sheet, at = _add_sheet(book, rows.names), 1
            for column, value in enumerate(row):
                _write_xlsx_cell(sheet, at, column, value, formats)
            count += 1
    return count


def _add_sheet(book: "xlsxwriter.Workbook", names: Sequence[str]) -> Any:  # noqa: ANN401
    sheet = book.add_worksheet()
    sheet.freeze_panes(1, 0)
    bold = book.add_format({"bold": True})
    for column, name in enumerate(names):
        sheet.write_string(0, column, name, bold)
    return sheet


def _write_xlsx_cell(
    sheet: Any,  # noqa: ANN401 -- the library's
    row: int,
    column: int,
    value: object,
    formats: Mapping[type, object],
) -> None:
    match value:
        case None:
            return
        case bool():
            sheet.write_boolean(row, column, value)
        case int() | float() | Decimal() if _is_exact(value):
            sheet.write_number(row, column, value if isinstance(value, int) else float(value))
        case datetime() | date() if value.year >= _FIRST_YEAR_OF_EXCEL:
            bare = value.replace(tzinfo=None) if isinstance(value, datetime) else value
            sheet.write_datetime(row, column, bare, formats[type(value)])
        case time():
            sheet.write_datetime(row, column, value, formats[time])
        case _:
            sheet.write_string(row, column, str(value)[:_LONGEST_CELL])


def _is_exact(value: float | Decimal) -> bool:
    """Whether Excel can show a number as it is, so far as its size goes; NaN it has none."""
    if isinstance(value, int | Decimal):
        # The sum of whole numbers is numeric to PostgreSQL.
        return value == value and abs(value) < _EXACT  # noqa: PLR0124 -- as below
    return value == value and abs(value) != float("inf")  # noqa: PLR0124 -- NaN is not itself


def write_parquet(rows: Rows, path: Path) -> int:
    """Write rows as Parquet with their types; return their count.

    `numeric` becomes double: it has no fixed number of decimals. Moments keep their time zone.

    Raises:
        ReadingError: Two columns have one name.
    """
    import pyarrow as pa  # noqa: PLC0415 -- 0.4 s, which who wants no Parquet need not pay
    import pyarrow.parquet as pq  # noqa: PLC0415

    if len(set(rows.names)) < len(rows.names):
        raise ReadingError("Two columns have one name: give one another, by AS.")
    blocks = rows.in_blocks()
    first = next(blocks, [])
    kinds = [_find_arrow_type(kind, first, column) for column, kind in enumerate(rows.types)]
    schema = pa.schema(list(zip(rows.names, kinds, strict=True)))
    count = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for block in chain([first], blocks):
            columns = zip(*block, strict=True) if block else ([] for _ in rows.names)
            arrays = [
                _build_array(values, kind) for values, kind in zip(columns, kinds, strict=True)
            ]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
            count += len(block)
    return count


def _find_arrow_type(kind: str, block: Sequence[Row], column: int) -> "pa.DataType":
    import pyarrow as pa  # noqa: PLC0415

    if kind == "timestamptz":
        zones = (row[column].tzinfo for row in block if row[column] is not None)
        return pa.timestamp("us", str(next(zones, "UTC")))
    known: dict[str, Callable[[], pa.DataType]] = {
        "int2": pa.int16,
        "int4": pa.int32,
        "int8": pa.int64,
        "float4": pa.float32,
        "float8": pa.float64,
        "numeric": pa.float64,
        "bool": pa.bool_,
        "date": pa.date32,
        "time": lambda: pa.time64("us"),
        "timestamp": lambda: pa.timestamp("us"),
    }
    return known.get(kind, pa.string)()


def _build_array(values: Iterable[Any], kind: "pa.DataType") -> "pa.Array":
    import pyarrow as pa  # noqa: PLC0415

    if pa.types.is_floating(kind):
        values = [None if value is None else float(value) for value in values]
    elif pa.types.is_string(kind):
        values = [None if value is None else str(value) for value in values]
    return pa.array(values, kind)
