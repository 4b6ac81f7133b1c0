"""Arrow arrays from Python values and back, by their buffers.

`pyarrow.array` imports pandas the first time it sees Python values, to learn whether they are its,
and so does `to_pylist` the first time it makes a datetime: up to a second of every process that
loads. Add a type here when a statement needs it.
"""

from array import array
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import pyarrow as pa

INT: Final = pa.int32()
BIGINT: Final = pa.int64()
DAY: Final = pa.date32()
MOMENT: Final = pa.timestamp("us", "UTC")
TEXT: Final = pa.string()
BYTES: Final = pa.binary()

_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECONDS: Final = 1_000_000
_UNITS: Final = {
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
    "us": timedelta(microseconds=1),
}

# By type: the array module's type code, and how a value becomes its number.
_NUMBERS: Final[dict[pa.DataType, tuple[str, Callable[[Any], int]]]] = {
    INT: ("i", int),
    BIGINT: ("q", int),
    DAY: ("i", lambda value: value.toordinal() - _EPOCH_DAY),
    MOMENT: ("q", lambda value: round(value.timestamp() * _MICROSECONDS)),
}


def build_array(
    values: Sequence[int | date | datetime | str | bytes | None], kind: pa.DataType
) -> pa.Array:
    """Build an array of one of this module's types; None becomes null."""
    validity = _pack([value is not None for value in values]) if None in values else None
    if kind in (TEXT, BYTES):
        texts = [_encode(value) for value in values]
        offsets = array("i", [0])
        for text in texts:
            offsets.append(offsets[-1] + len(text))
        data = [pa.py_buffer(offsets), pa.py_buffer(b"".join(texts))]
    else:
        code, convert = _NUMBERS[kind]
        numbers = array(code, [0 if value is None else convert(value) for value in values])
        data = [pa.py_buffer(numbers)]
    return pa.Array.from_buffers(kind, len(values), [validity, *data])


def list_values(column: pa.ChunkedArray) -> list[Any]:
    """Return a column's values, null as None; moments are in UTC."""
    if not pa.types.is_timestamp(column.type):
        values: list[Any] = column.to_pylist()
        return values
    unit = _UNITS[column.type.unit]
    numbers = [number for chunk in column.chunks for number in chunk.view(BIGINT).to_pylist()]
    return [None if number is None else _EPOCH + number * unit for number in numbers]


def _encode(value: object) -> bytes:
    if value is None:
        return b""
    return value if isinstance(value, bytes) else str(value).encode()


def _pack(present: Sequence[bool]) -> pa.Buffer:
    """Pack flags into bits, the first into the lowest."""
    bits = sum(1 << position for position, flag in enumerate(present) if flag)
    return pa.py_buffer(bits.to_bytes((len(present) + 7) // 8, "little"))
