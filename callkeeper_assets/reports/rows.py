"""How raw calls become rows of reports: the calls that pass, their values, in the columns' types.

No database. A value that does not fit its column's type is NULL and counted, or rejects the row, as
the report says.
"""

import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Context, Decimal, InvalidOperation
from functools import cache
from math import isfinite
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions

from callkeeper_assets.raw import document
from callkeeper_assets.raw.document import ExactNumber, is_misplaced, read_call
from callkeeper_assets.raw.fields import FIELD_TREE, FieldTree
from callkeeper_assets.reports.definition import ColumnType, PathError, Report, ReportTable
from callkeeper_assets.warehouse.records import NotJsonCallError, RowCounts

if TYPE_CHECKING:
    import pyarrow as pa


PathSearch = Callable[[Any], Any]

_MOST_LETTERS: Final = 1000
# What an expression can raise on a value that it was not written for.
_AT_SEARCH: Final = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)

# Value of a column as PostgreSQL reads it, None for NULL.
Convert = Callable[[Any], str | None]

_BLANK: Final = " \t\r\n"
_NUMBER: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_DIGITS: Final = re.compile(r"[+-]?\d{1,20}", re.ASCII)
_WHOLE: Final = re.compile(r"[+-]?\d+", re.ASCII)
_MOMENT: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)"
    r"(?:[T ]((?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d)?)(?:\.(\d{1,6})\d*)?"
    r" ?(Z|[+-]\d\d(?::?\d\d)?)?)?",
    re.ASCII,
)
# How MySQL, and so the source, writes "no time".
_NO_DAY: Final = "0000-00-00"
# Seconds since 1970 from September 2001 to 2286: ten digits. Others are no call's time.
_EPOCH: Final = range(10**9, 10**10)

_RANGES: Final = {"integer": range(-(2**31), 2**31), "bigint": range(-(2**63), 2**63)}

_TRUE: Final = frozenset({"true", "t", "yes", "y", "on", "1"})
_FALSE: Final = frozenset({"false", "f", "no", "n", "off", "0"})
_KINDS: Final = {bool: "true or false", list: "a list", dict: "an object"}

JSON_TABLE: Final = "callkeeper_reports"
REJECTS_TABLE: Final = "callkeeper_rejects"

# A row of PostgreSQL's index has about 2,700 bytes at most, account_id among them.
_MOST_KEY_BYTES: Final = 2_000
_MOST_SHOWN: Final = 1_000

Values = tuple[str | None, ...]


class UnfitValueError(Exception):
    """The path's functions cannot take what this call holds; the text shows no value."""


def _list_names(node: dict[str, Any]) -> tuple[str, ...] | None:
    """Return the names of a plain path; None if it is more than that."""
    if node["type"] == "field":
        return (node["value"],)
    if node["type"] != "subexpression":
        return None
    names: tuple[str, ...] = ()
    for child in node["children"]:
        inner = _list_names(child)
        if inner is None:
            return None
        names += inner
    return names


def _find_misuse(node: Any, *, in_function: bool = False) -> str | None:  # noqa: ANN401
    """Say what in a parsed expression could never give a value; JMESPath would say so too late."""
    if not isinstance(node, dict):
        return None
    kind, children = node["type"], node["children"]
    if kind == "expref" and not in_function:
        return "'&' is for the arguments of functions"
    if kind == "slice" and children[2] == 0:
        return "a slice's step cannot be 0"
    if kind == "function_expression":
        problem = _find_call_problem(node["value"], len(children))
        if problem:
            return problem
    for child in children:
        problem = _find_misuse(child, in_function=kind == "function_expression")
        if problem:
            return problem
    return None


def _find_call_problem(name: str, given: int) -> str | None:
    known = Functions.FUNCTION_TABLE.get(name)
    if known is None:
        allowed = ", ".join(sorted(Functions.FUNCTION_TABLE))
        return f"there is no function '{name}'. Allowed: {allowed}"
    signature = known["signature"]
    is_variadic = bool(signature) and bool(signature[-1].get("variadic"))
    if given < len(signature) or (given > len(signature) and not is_variadic):
        least = "at least " if is_variadic else ""
        return f"the function '{name}' takes {least}{len(signature)} arguments, not {given}"
    return None


def _parse(path: str) -> Any:  # noqa: ANN401 -- JMESPath has no type for it
    with warnings.catch_warnings():
        # An old form of literals that JMESPath still reads.
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        return jmespath.compile(path)


def list_names(path: str) -> Iterator[str]:
    """Yield the names of fields that a path goes through, of one that `compile_path` takes."""
    waiting = [_parse(path).parsed]
    while waiting:
        node = waiting.pop()
        if node["type"] == "field":
            yield node["value"]
        waiting += (child for child in node["children"] if isinstance(child, dict))


def _explain(path: str, error: Exception) -> PathError:
    place = getattr(error, "lex_position", None)
    where = f" at character {place + 1}" if isinstance(place, int) else ""
    return PathError(
        f"'{path[:100]}' is not JMESPath{where}. Nested names are joined by dots: "
        "visit_info.current.utm_campaign; a name with other characters than Latin letters, digits "
        "and '_' stands in double quotes: '\"моё поле\".name'."
    )


@cache
def compile_path(path: str) -> PathSearch:
    """Return the function that finds the path's value in a call or an element; None if missing.

    It raises `UnfitValueError` where a function of the path cannot take the value.

    Raises:
        PathError: it is not JMESPath, or could never give a value.
    """
    if len(path) > _MOST_LETTERS:
        raise PathError(f"'{path[:100]}…' is longer than {_MOST_LETTERS} characters.")
    try:
        expression = _parse(path)
        misuse = _find_misuse(expression.parsed)
    except (JMESPathError, ValueError, TypeError, RecursionError) as error:
        raise _explain(path, error) from None
    if misuse:
        raise PathError(f"'{path[:100]}': {misuse}.")
    if path.strip() == "@":
        return _identity
    names = _list_names(expression.parsed)
    return _build_walk(names) if names else _build_search(expression)


def _identity(document: Any) -> Any:  # noqa: ANN401
    return document


def _build_walk(names: tuple[str, ...]) -> PathSearch:
    def walk(document: Any) -> Any:  # noqa: ANN401
        for name in names:
            if type(document) is not dict:
                return None
            document = document.get(name)
        return document

    return walk


def _build_search(expression: Any) -> PathSearch:  # noqa: ANN401
    def search(document: Any) -> Any:  # noqa: ANN401
        try:
            return expression.search(document)
        except (*_AT_SEARCH, RecursionError):
            # JMESPath's own text shows the value, which may be a phone number.
            raise UnfitValueError from None

    return search


@dataclass(frozen=True)
class ReportCall:
    """One call: its id, its time as PostgreSQL reads it, its fields as JSON has them."""

    call_id: int
    called_at: str
    document: Any


def _strip_zeros(value: Any) -> Any:  # noqa: ANN401 -- JSON
    """Return the value without the character 0, which PostgreSQL's text cannot hold."""
    if isinstance(value, str):
        return value.replace("\0", "")
    if isinstance(value, list):
        return [_strip_zeros(one) for one in value]
    if isinstance(value, dict):
        return {_strip_zeros(name): _strip_zeros(one) for name, one in value.items()}
    return value


def _decode(payload: str) -> Any:  # noqa: ANN401
    document = read_call(payload)
    return _strip_zeros(document) if "\\u0000" in payload else document


def read_calls(day: date, calls: "pa.Table") -> Iterator[ReportCall]:
    """Read a day's calls, in their order.

    Args:
        day: in the source's time zone.
        calls: columns call_id, called_at, payload.

    Raises:
        NotJsonCallError: a payload is none.
    """
    ids: Sequence[int] = calls["call_id"].to_pylist()
    moments: Sequence[datetime] = calls["called_at"].to_pylist()
    payloads: Sequence[str] = calls["payload"].to_pylist()
    for call_id, called_at, payload in zip(ids, moments, payloads, strict=True):
        try:
            document = _decode(payload)
        except (ValueError, RecursionError):
            raise NotJsonCallError(day, call_id) from None
        yield ReportCall(call_id, called_at.isoformat(), document)


def find_undocumented(document: Any, found: set[str]) -> None:  # noqa: ANN401
    """Add the paths of the call's fields that the documentation does not name."""
    if type(document) is dict:
        _compare(document, FIELD_TREE, "", found)


def _compare(fields: dict[str, Any], tree: FieldTree, prefix: str, found: set[str]) -> None:
    for name, value in fields.items():
        child = tree.get(name, tree)
        if child is tree:
            found.add(prefix + name)
        elif child is None:
            continue
        elif type(value) is dict:
            _compare(value, child, f"{prefix}{name}.", found)
        elif is_misplaced(value):
            found.add(prefix + name)


# Of PostgreSQL's numeric: digits before and after the point.
_MOST_BEFORE, _MOST_AFTER = 131_072, 16_383
_EXACT: Final = Context(prec=_MOST_BEFORE + _MOST_AFTER)


class MisfitError(Exception):
    """The value does not fit; the text says why, and does not show it."""


def _is_blank(value: Any) -> bool:  # noqa: ANN401 -- JSON, here and below
    return value is None or (type(value) is str and not value.strip(_BLANK))


def _is_number(value: Any) -> bool:  # noqa: ANN401
    return type(value) is int or isinstance(value, float)


def _refuse(value: Any, wanted: str) -> MisfitError:  # noqa: ANN401
    kind = _KINDS.get(type(value))
    return MisfitError(f"is {kind}, not {wanted}" if kind else f"is not {wanted}")


def _read_number(text: str, wanted: str) -> Decimal:
    if not _NUMBER.fullmatch(text):
        raise MisfitError(f"is not {wanted}")
    try:
        return Decimal(text)
    except InvalidOperation:
        raise MisfitError("is out of range: its exponent is too large") from None


def _read_whole(value: Any) -> int:  # noqa: ANN401
    """Read a whole number as the warehouse's own columns do: in plain digits."""
    if type(value) is int:
        return value
    if type(value) is float:
        # Of a path's function: only what a source wrote has a notation.
        if value.is_integer():
            return int(value)
        raise MisfitError("has a fraction" if isfinite(value) else "is out of range")
    if isinstance(value, ExactNumber):
        value = value.text
    if type(value) is not str:
        raise _refuse(value, "a whole number")
    text = value.strip(_BLANK)
    if _DIGITS.fullmatch(text):
        return int(text)
    number = _read_number(text, "a whole number")
    # Before it is made an integer: one of a billion digits would take all memory.
    if number.adjusted() > _MOST_BEFORE:
        raise MisfitError("is out of range")
    if number != number.to_integral_value():
        raise MisfitError("has a fraction")
    if not _WHOLE.fullmatch(text):
        raise MisfitError("is not a whole number in plain digits")
    return int(number)


def _build_whole(name: ColumnType) -> Convert:
    allowed = _RANGES[name]

    def convert(value: Any) -> str | None:  # noqa: ANN401
        if _is_blank(value):
            return None
        number = _read_whole(value)
        if number not in allowed:
            raise MisfitError(f"is out of the range of {name}")
        return str(number)

    return convert


def _convert_numeric(value: Any) -> str | None:  # noqa: ANN401
    if _is_blank(value):
        return None
    if _is_number(value):
        # Not of a whole one: it may be one of 400 digits, which is no double.
        if isinstance(value, float) and not isfinite(value):
            raise MisfitError("is out of range")
        number = Decimal(value if type(value) is int else str(value))
    elif type(value) is str:
        number = _read_number(value.strip(_BLANK), "a number")
    else:
        raise _refuse(value, "a number")
    # Without zeros at the end: equal numbers have one text.
    number = _EXACT.normalize(number) if number else Decimal(0)
    exponent = number.as_tuple().exponent
    if number.adjusted() >= _MOST_BEFORE or (isinstance(exponent, int) and -exponent > _MOST_AFTER):
        raise MisfitError("is out of the range of numeric")
    return str(number)


def _convert_double(value: Any) -> str | None:  # noqa: ANN401
    if _is_blank(value):
        return None
    if type(value) is str:
        text = value.strip(_BLANK)
        if not _NUMBER.fullmatch(text):
            raise MisfitError("is not a number")
        number = float(text)
    elif _is_number(value):
        try:
            number = float(value)
        except OverflowError:
            raise MisfitError("is out of the range of double") from None
    else:
        raise _refuse(value, "a number")
    if not isfinite(number):
        raise MisfitError("is out of the range of double")
    # Adding 0.0 makes -0.0 the 0.0 that it equals.
    return repr(number + 0.0)


def _convert_boolean(value: Any) -> str | None:  # noqa: ANN401
    if _is_blank(value):
        return None
    word = "1" if value in (True, 1) else "0" if value in (False, 0) else value
    if type(word) is str:
        word = word.strip(_BLANK).lower()
        if word in _TRUE:
            return "t"
        if word in _FALSE:
            return "f"
    raise _refuse(value, "true or false")


def _convert_text(value: Any) -> str | None:  # noqa: ANN401
    if _is_blank(value):
        return None
    if type(value) is str:
        return value
    if type(value) is bool:
        return "true" if value else "false"
    if type(value) is int or isinstance(value, ExactNumber):
        return str(value)
    if type(value) is float and isfinite(value):
        return encode_json(value)
    raise _refuse(value, "a text: use jsonb, or rows for its elements")


def _read_moment(value: Any, wanted: str) -> datetime | None:  # noqa: ANN401
    """Return the moment on the source's clock, which is UTC, without a zone."""
    if _is_blank(value):
        return None
    if type(value) is str:
        text = value.strip(_BLANK)
        if text.startswith(_NO_DAY):
            return None
        match = _MOMENT.fullmatch(text)
        if match:
            return _read_parts(match, wanted)
        value = int(text) if _DIGITS.fullmatch(text) else text
    # Finiteness is asked of floats alone: a whole number may be one of 400 digits, no double.
    is_number = type(value) is int or (isinstance(value, float) and isfinite(value))
    if is_number and int(value) in _EPOCH:
        return datetime.fromtimestamp(value, UTC).replace(tzinfo=None)
    raise _refuse(value, wanted)


def _read_parts(match: re.Match[str], wanted: str) -> datetime:
    day, clock, fraction, zone = match.groups()
    zone = (zone or "").replace("Z", "+00:00")
    try:
        text = f"{day}T{clock or '00:00'}"
        if fraction:
            text += f".{fraction.ljust(6, '0')}" if len(clock) > len("00:00") else ""
        moment = datetime.fromisoformat(text + zone)
        return moment.astimezone(UTC).replace(tzinfo=None) if zone else moment
    except (ValueError, OverflowError):
        raise MisfitError(f"is not {wanted}") from None


def _convert_date(value: Any) -> str | None:  # noqa: ANN401
    moment = _read_moment(value, "a date")
    return None if moment is None else moment.date().isoformat()


def _convert_timestamp(value: Any) -> str | None:  # noqa: ANN401
    moment = _read_moment(value, "a time")
    return None if moment is None else moment.isoformat(" ")


def _convert_jsonb(value: Any) -> str | None:  # noqa: ANN401
    return None if value is None else encode_json(value)


def encode_json(value: Any) -> str:  # noqa: ANN401
    """Return a value of a call as JSON; a number beyond double precision is null."""
    return document.encode(value, is_finite=True).decode()


_CONVERTERS: Final[dict[ColumnType, Convert]] = {
    "bigint": _build_whole("bigint"),
    "integer": _build_whole("integer"),
    "numeric": _convert_numeric,
    "double": _convert_double,
    "boolean": _convert_boolean,
    "text": _convert_text,
    "date": _convert_date,
    "timestamp": _convert_timestamp,
    "jsonb": _convert_jsonb,
}


def find_converter(name: ColumnType) -> Convert:
    """Return the function that makes a value of the type; it raises `MisfitError`."""
    return _CONVERTERS[name]


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


class ReportRow(NamedTuple):
    """One row: its values in the order of the table's columns, as PostgreSQL reads them."""

    position: int
    values: Values


BuiltRows = Iterator[ReportRow | Reject]
Build = Callable[[ReportCall], BuiltRows]


def show_value(value: Any) -> str | None:  # noqa: ANN401 -- JSON
    """Return a value for callkeeper_rejects: JSON, cut."""
    return None if value is None else encode_json(value)[:_MOST_SHOWN]


@dataclass(frozen=True)
class _Cell:
    name: str
    search: PathSearch
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

    def __call__(self, call: ReportCall) -> BuiltRows:
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

    def _build(self, call: ReportCall, position: int, element: Any) -> BuiltRows:  # noqa: ANN401
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
        yield ReportRow(position, tuple(values))

    def _reject(
        self, call: ReportCall, position: int, column: str, value: str | None, reason: str
    ) -> Reject:
        return Reject(self._table, call.call_id, position, column, value, reason)


class _JsonBuilder:
    """Builds the one JSON row of a call."""

    def __init__(self, report: Report) -> None:
        self._fields = [(name, compile_path(path)) for name, path in report.fields]

    def __call__(self, call: ReportCall) -> BuiltRows:
        """Yield the call's row; a field that is missing is null in it."""
        data = {}
        for name, search in self._fields:
            try:
                data[name] = search(call.document)
            except UnfitValueError:
                reason = f"the path of the field '{name}' cannot take this value"
                yield Reject(JSON_TABLE, call.call_id, 1, "data", None, reason)
                return
        yield ReportRow(1, (call.called_at, encode_json(data)))


def plan_rows(report: Report) -> dict[str, Build]:
    """Return, by table that the report fills, the function that makes a call's rows of it."""
    if not report.structure:
        return {JSON_TABLE: _JsonBuilder(report)}
    return {table.name: _TableBuilder(table) for table in report.structure}


@dataclass(frozen=True)
class BuiltDay:
    """A report's day that is in the warehouse now.

    Attributes:
        raw_calls: calls of the day, before filters.
        calls: those that the filters let pass.
        rows: by table of the report.
        counts: what changed, by table.
        rejects: how many; a row that was kept out counts once for each column at fault.
        sample: the first of the rejects.
        new_fields: of the raw calls, sorted; empty where the report ignores them.
    """

    report: str
    day: date
    raw_calls: int
    calls: int
    rows: Mapping[str, int]
    counts: Mapping[str, RowCounts]
    rejects: int
    sample: tuple[Reject, ...]
    new_fields: tuple[str, ...]


@dataclass(frozen=True)
class RefusedReport:
    """A report that was not built, for one day or, where `day` is None, for any."""

    report: str
    day: date | None
    reason: str


ReportOutcome = BuiltDay | RefusedReport
