"""A raw call's JSON as it is: exact numbers, and the few calls that DuckDB would read wrongly.

Numbers keep every digit that was sent, and of a key that stands twice the last one counts. Calls
with forms that DuckDB's reader does not take the same way are found by their bytes and rewritten
before it sees them.
"""

import json
import re
from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any, Final, Self, cast
from urllib.parse import unquote

import msgspec

from callkeeper_assets.raw.fields import FIELD_TREE, FieldTree

_BLANK: Final = " \t\r\n"
_PARTS: Final = "|||"
_ENCODED_PARTS: Final = re.compile(r"%7C%7C%7C", re.IGNORECASE)
_ENCODED_SIGN: Final = re.compile(r"%3D", re.IGNORECASE)
# Sourcebuster's cookies in one text, as a browser sends them: sbjs_current=…; sbjs_udata=…
_COOKIE: Final = re.compile(r"(?:^|[;&]\s*)sbjs_(\w+)=([^;&]*)")
_MOST_ENCODINGS: Final = 3
_OBJECT_NAMES: Final = tuple(name for name, child in FIELD_TREE.items() if child is not None)
_VISIT: Final = "visit_info"

# What marks a number with a fraction or an exponent, in an object or in a list. It can be found in
# a text, too: it only says where to look. RE2 is fastest where a pattern has one beginning.
NUMBER_PATTERN: Final = r'":\s*(?:\[[^\]]*[\[,]\s*|\[\s*)?-?\d+[.eE]'
# What is neither object nor blank nor null nor an empty list, where an object should be.
OBJECT_PATTERN: Final = (
    rf'"(?:{"|".join(sorted(_OBJECT_NAMES))})"\s*:\s*(?:"\s*[^"\s]|\[\s*[^\]\s]|[-0-9tf])'
)


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


def _list_trees(tree: FieldTree, prefix: str) -> Iterator[tuple[str, FieldTree]]:
    for name, child in tree.items():
        if child is not None:
            yield prefix + name, child
            yield from _list_trees(child, f"{prefix}{name}.")


_TREES: Final[Mapping[str, FieldTree]] = dict(_list_trees(FIELD_TREE, ""))


def _find_homes() -> Mapping[str, str]:
    """Return in which object of the visit each of a cookie's keys lies: that of the current one."""
    homes: dict[str, str] = {}
    visit = FIELD_TREE[_VISIT] or {}
    for part in ("current", "current_add", "session", "udata"):
        for key in visit[part] or {}:
            homes.setdefault(key, part)
    return homes


_HOMES: Final = _find_homes()


def is_misplaced(value: Any) -> bool:  # noqa: ANN401
    """Whether a value is neither an object nor one of the ways of having none."""
    if value is None or type(value) is dict:
        return False
    return bool(value.strip(_BLANK)) if type(value) is str else value != []


def read_call(payload: bytes | str) -> Any:  # noqa: ANN401 -- JSON
    """Return a call's fields, with objects for the texts that are ones.

    Raises:
        ValueError: It is no JSON.
        RecursionError: It is nested too deep.
    """
    call = decode(payload)
    if type(call) is dict:
        for _ in _open_objects(call, FIELD_TREE, ""):
            pass
    return call


def rewrite_call(payload: str) -> tuple[str, list[str]]:
    """Return a call's JSON as DuckDB reads it right, and where no object is to be found.

    Raises:
        ValueError: It is no JSON.
        RecursionError: It is nested too deep.
    """
    call = decode(payload)
    misplaced = list(_open_objects(call, FIELD_TREE, "")) if type(call) is dict else []
    return encode_with_texts(call), misplaced


def _open_objects(fields: dict[str, Any], tree: FieldTree, prefix: str) -> Iterator[str]:
    """Put objects where they are texts; yield the paths where neither is."""
    for name, child in tree.items():
        value = fields.get(name)
        if child is None or value is None:
            continue
        if type(value) is not dict:
            if not is_misplaced(value):
                continue
            opened = _read_object(value, name, child) if type(value) is str else None
            if opened is None:
                yield prefix + name
                continue
            fields[name] = value = opened
        yield from _open_objects(value, child, f"{prefix}{name}.")


def read_visit_text(path: str, text: str) -> dict[str, Any] | None:
    """Return what a text at a dotted path says, where an object of a visit is read from texts.

    None elsewhere, and for a text that says nothing known.
    """
    tree = _TREES.get(path)
    if not tree or not text.strip(_BLANK):
        return None
    return _read_object(text, path.rpartition(".")[2], tree)


def _read_object(text: str, name: str, tree: FieldTree) -> dict[str, Any] | None:
    """Return what a text says; None if it says nothing known."""
    text = text.strip(_BLANK)
    if text[0] == "{":
        try:
            value = decode(text)
        except (ValueError, RecursionError):
            return None
        return value if type(value) is dict else None
    return _read_visit(text) if name == _VISIT else _read_cookie(text, tree)


def _read_visit(text: str) -> dict[str, Any] | None:
    """Read the cookies of a visit: each by its name, or the pairs of all together."""
    cookies = _COOKIE.findall(text)
    if cookies:
        parts = FIELD_TREE[_VISIT] or {}
        return {name: _read_cookie(text, parts.get(name) or {}) or text for name, text in cookies}
    pairs = _read_cookie(text, dict.fromkeys(_HOMES))
    if pairs is None:
        return None
    visit: dict[str, Any] = {}
    for key, value in pairs.items():
        home = _HOMES.get(key)
        (visit if home is None else visit.setdefault(home, {}))[key] = value
    return visit


def _read_cookie(text: str, known: FieldTree) -> dict[str, Any] | None:
    """Read `key=value|||key=value`, URL-encoded or not, if one of the keys is known."""
    for _ in range(_MOST_ENCODINGS):
        is_plain = _PARTS in text or "=" in text
        if is_plain or not (_ENCODED_PARTS.search(text) or _ENCODED_SIGN.search(text)):
            break
        text = unquote(text)
    parts = [part.partition("=") for part in text.split(_PARTS) if part.strip(_BLANK)]
    pairs = {key.strip(_BLANK): value for key, sign, value in parts if sign}
    return pairs if len(pairs) == len(parts) and pairs.keys() & known.keys() else None
