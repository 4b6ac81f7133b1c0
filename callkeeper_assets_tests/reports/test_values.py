"""Values: what fits a type, what is NULL, what does not fit; and PostgreSQL takes what fits."""

import json
import math
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, get_args

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg import sql

from callkeeper_assets.raw.document import ExactNumber
from callkeeper_assets.reports.definition import ColumnType
from callkeeper_assets.reports.rows import MisfitError, find_converter
from callkeeper_assets.reports.structure import SQL_TYPES

_TYPES = get_args(ColumnType)


@pytest.mark.parametrize("kind", _TYPES)
@pytest.mark.parametrize("value", [None, "", " ", "\t \r\n"])
def test_what_is_missing_or_blank_is_null(kind: ColumnType, value: object) -> None:
    if kind == "jsonb" and value is not None:
        assert find_converter(kind)(value) == json.dumps(value)
    else:
        assert find_converter(kind)(value) is None


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("bigint", 7, "7"),
        ("bigint", " +12 ", "12"),
        ("bigint", 3.0, "3"),
        ("bigint", "-9223372036854775808", "-9223372036854775808"),
        ("integer", 2147483647, "2147483647"),
        ("numeric", "1.10", "1.1"),
        ("numeric", 0.1, "0.1"),
        ("numeric", "0.123456789012345678901234567890123456789", None),
        ("numeric", 10**30, "1E+30"),
        ("numeric", "-0.0", "0"),
        ("double", "1.5e300", "1.5e+300"),
        ("double", -0.0, "0.0"),
        ("double", 3, "3.0"),
        ("boolean", True, "t"),
        ("boolean", 0, "f"),
        ("boolean", " YES ", "t"),
        ("boolean", "off", "f"),
        ("text", "  as received ", None),
        ("text", 12, "12"),
        ("text", 1.5, "1.5"),
        ("text", ExactNumber("7.10"), "7.10"),
        ("text", ExactNumber("1E400"), "1E400"),
        ("numeric", ExactNumber("0.12345678901234567890"), "0.1234567890123456789"),
        ("double", ExactNumber("7.10"), "7.1"),
        ("jsonb", {"a": ExactNumber("7.10")}, '{"a":7.10}'),
        ("jsonb", [ExactNumber("1e400")], "[null]"),
        ("timestamp", ExactNumber("1543925694.0"), "2018-12-04 12:14:54"),
        ("text", True, "true"),
        ("date", "2026-03-02", "2026-03-02"),
        ("date", "2026-03-02 23:59:59", "2026-03-02"),
        ("timestamp", "2026-03-02", "2026-03-02 00:00:00"),
        ("timestamp", "2026-03-02T10:11:12.5", "2026-03-02 10:11:12.500000"),
        ("timestamp", "2026-03-02T10:11:12+03:00", "2026-03-02 07:11:12"),
        ("timestamp", "2026-03-02T10:11:12Z", "2026-03-02 10:11:12"),
        ("timestamp", 1543925694, "2018-12-04 12:14:54"),
        ("timestamp", "1543925694", "2018-12-04 12:14:54"),
        ("jsonb", {"а": [1, None]}, '{"а":[1,null]}'),
        ("jsonb", "x", '"x"'),
    ],
)
def test_a_value_that_fits(kind: ColumnType, value: object, expected: str | None) -> None:
    assert find_converter(kind)(value) == (value if expected is None else expected)


@pytest.mark.parametrize("kind", ["date", "timestamp"])
def test_no_day_as_the_source_writes_it_is_null(kind: ColumnType) -> None:
    assert find_converter(kind)("0000-00-00 00:00:00") is None


@pytest.mark.parametrize(
    ("kind", "value", "reason"),
    [
        ("bigint", "12x", "is not a whole number"),
        ("bigint", "1.5", "has a fraction"),
        ("bigint", 1.5, "has a fraction"),
        ("bigint", "12.0", "is not a whole number in plain digits"),
        ("bigint", ExactNumber("12.0"), "is not a whole number in plain digits"),
        ("integer", ExactNumber("12.7"), "has a fraction"),
        ("bigint", "1e3", "is not a whole number in plain digits"),
        ("bigint", "0x1F", "is not a whole number"),
        ("bigint", "1_000", "is not a whole number"),
        ("bigint", "1e-400", "has a fraction"),
        ("bigint", 2**63, "is out of the range of bigint"),
        ("bigint", "9" * 5000, "is out of the range of bigint"),
        ("bigint", "1e999999999", "is out of range"),
        ("bigint", "1e99999999999999999999", "is out of range: its exponent is too large"),
        ("bigint", math.inf, "is out of range"),
        ("bigint", True, "is true or false, not a whole number"),
        ("bigint", [1], "is a list, not a whole number"),
        ("bigint", {}, "is an object, not a whole number"),
        ("bigint", "١٢", "is not a whole number"),
        ("integer", 2147483648, "is out of the range of integer"),
        ("numeric", "NaN", "is not a number"),
        ("numeric", "1e-20000", "is out of the range of numeric"),
        ("numeric", "1e200000", "is out of the range of numeric"),
        ("numeric", math.inf, "is out of range"),
        ("numeric", False, "is true or false, not a number"),
        ("double", "1e400", "is out of the range of double"),
        ("double", 10**400, "is out of the range of double"),
        ("double", "Infinity", "is not a number"),
        ("boolean", 2, "is not true or false"),
        ("boolean", "maybe", "is not true or false"),
        ("boolean", [], "is a list, not true or false"),
        ("text", ["a"], "is a list, not a text: use jsonb, or rows for its elements"),
        ("text", {"a": 1}, "is an object, not a text: use jsonb, or rows for its elements"),
        ("date", "02.03.2026", "is not a date"),
        ("date", "2026-02-30", "is not a date"),
        ("date", "20260302", "is not a date"),
        ("date", 0, "is not a date"),
        ("date", True, "is true or false, not a date"),
        ("timestamp", "2026-03-02 24:00:00", "is not a time"),
        ("timestamp", "2026-03-02 10:60", "is not a time"),
        ("timestamp", "0001-01-01T00:00:00+03:00", "is not a time"),
        ("timestamp", 10**12, "is not a time"),
        ("timestamp", math.nan, "is not a time"),
        ("timestamp", 10**400, "is not a time"),
        ("date", 10**400, "is not a date"),
        ("boolean", 10**400, "is not true or false"),
    ],
)
def test_a_value_that_does_not_fit_says_why_and_not_what(
    kind: ColumnType, value: object, reason: str
) -> None:
    with pytest.raises(MisfitError) as caught:
        find_converter(kind)(value)
    assert str(caught.value) == reason


_ANY = st.one_of(
    st.integers(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.booleans(),
    st.text("0123456789.eE+-: T\\\t\n\rZя'\";", max_size=24),
    st.datetimes(timezones=st.none() | st.just(UTC)).map(str),
    st.dates().map(str),
    st.decimals(allow_nan=False, allow_infinity=False).map(str),
    st.lists(st.integers() | st.text(max_size=3), max_size=3),
    st.dictionaries(st.text(max_size=3), st.floats() | st.text(max_size=3), max_size=3),
).map(lambda value: json.loads(json.dumps(value).replace("\\u0000", "")))


def _read_json(text: str) -> Any:  # noqa: ANN401
    return json.loads(text, parse_float=Decimal, parse_int=Decimal)


# How a test reads what a converter wrote.
_READERS: dict[ColumnType, Callable[[str], Any]] = {
    "bigint": int,
    "integer": int,
    "numeric": Decimal,
    "double": float,
    "boolean": lambda text: text == "t",
    "text": str,
    "date": date.fromisoformat,
    "timestamp": datetime.fromisoformat,
    "jsonb": _read_json,
}


@given(st.lists(_ANY, min_size=1, max_size=30))
def test_postgresql_takes_every_value_that_fits_for_what_it_is(
    database: str, values: list[Any]
) -> None:
    with psycopg.connect(database) as connection:
        for kind in _TYPES:
            texts = []
            for value in values:
                try:
                    text = find_converter(kind)(value)
                except MisfitError:
                    continue
                except UnicodeEncodeError:
                    # Halves of surrogate pairs are replaced when a call is read.
                    continue
                if text is not None:
                    texts.append(text)
            statement = sql.SQL("SELECT x::text::{} FROM unnest(%s::text[]) AS x").format(
                sql.SQL("jsonb::text" if kind == "jsonb" else SQL_TYPES[kind])
            )
            found = [row[0] for row in connection.execute(statement, (texts,)).fetchall()]
            if kind == "jsonb":
                found = [_read_json(text) for text in found]
            assert found == [_READERS[kind](text) for text in texts]
