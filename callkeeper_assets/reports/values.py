"""How a raw value becomes a value of a column's type: as PostgreSQL's text, NULL, or not at all.

The rules are written down for users in docs/reports.md. Missing, null and blank are NULL; numbers
may come as text; what would lose something, a fraction or a digit, does not fit. The text is the
same for equal values, so that rows can be told apart by it.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Context, Decimal, InvalidOperation
from math import isfinite
from typing import Any, Final

from callkeeper_assets import exact_json
from callkeeper_assets.exact_json import ExactNumber
from callkeeper_assets.reports.definition import ColumnType

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
# Of PostgreSQL's numeric: digits before and after the point.
_MOST_BEFORE, _MOST_AFTER = 131_072, 16_383
_EXACT: Final = Context(prec=_MOST_BEFORE + _MOST_AFTER)

_TRUE: Final = frozenset({"true", "t", "yes", "y", "on", "1"})
_FALSE: Final = frozenset({"false", "f", "no", "n", "off", "0"})
_KINDS: Final = {bool: "true or false", list: "a list", dict: "an object"}


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
    return exact_json.encode(value, is_finite=True).decode()


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
