"""JSON in which nothing is lost: a number keeps its characters, of a doubled name the last counts.

`7.10` and `1155834011.1600000010` are campaigns and visitors, no quantities: as doubles they become
others. Whatever reads a call as a whole, to put it into tables, reports or another privacy, reads
it here, so that all see the same call.
"""

import json
from math import isfinite
from typing import Any, Final, Self, cast

import msgspec


class ExactNumber(float):
    """A number with a fraction or an exponent, beside the characters that it was written with."""

    __slots__ = ("text",)
    text: str

    def __new__(cls, text: str) -> Self:
        """Read a number of JSON; one that no double holds is infinite as a number."""
        number = super().__new__(cls, text)
        number.text = text
        return number

    def __str__(self) -> str:
        """Return its characters."""
        return self.text


# JMESPath knows numbers by the names of their types.
ExactNumber.__name__ = "float"


def _give_characters(value: object) -> msgspec.Raw:
    return msgspec.Raw(cast("ExactNumber", value).text.encode())


def _give_text(value: object) -> str:
    return cast("ExactNumber", value).text


def _give_finite(value: object) -> msgspec.Raw | None:
    number = cast("ExactNumber", value)
    return _give_characters(number) if isfinite(number) else None


_decode: Final = msgspec.json.Decoder(float_hook=ExactNumber).decode
_encode: Final = msgspec.json.Encoder(enc_hook=_give_characters).encode
_encode_as_text: Final = msgspec.json.Encoder(enc_hook=_give_text).encode
_encode_finite: Final = msgspec.json.Encoder(enc_hook=_give_finite).encode


def _read_whole(digits: str) -> int | float:
    """Read a whole number; one that Python refuses to read is beyond double precision, too."""
    try:
        return int(digits)
    except ValueError:
        return ExactNumber(digits)


def _mend(value: Any) -> Any:  # noqa: ANN401 -- JSON
    """Return the value with a question mark for each half of a surrogate pair."""
    if type(value) is str:
        return value.encode("utf-8", "replace").decode()
    if type(value) is list:
        return [_mend(one) for one in value]
    if type(value) is dict:
        return {_mend(name): _mend(one) for name, one in value.items()}
    return value


def decode(payload: bytes | str) -> Any:  # noqa: ANN401 -- JSON
    """Return a JSON text's value.

    Halves of surrogate pairs, and numbers that no double holds, are legal JSON.

    Raises:
        ValueError: It is none.
        RecursionError: It is nested too deep.
    """
    try:
        return _decode(payload)
    except ValueError:
        text = payload if isinstance(payload, str) else payload.decode("utf-8", "replace")
        return _mend(json.loads(text, parse_float=ExactNumber, parse_int=_read_whole))


def encode(document: Any, *, is_finite: bool = False) -> bytes:  # noqa: ANN401
    """Return a value's JSON text in UTF-8.

    Args:
        document: As `decode` returns it.
        is_finite: A number that no double holds is null: not every reader of JSON takes it.
    """
    return _encode_finite(document) if is_finite else _encode(document)


def encode_with_texts(document: Any) -> str:  # noqa: ANN401
    """Return JSON in which numbers with a fraction or an exponent are texts.

    For readers that take numbers as doubles: so their characters survive.
    """
    return _encode_as_text(document).decode()
