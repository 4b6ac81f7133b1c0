"""A call's JSON as values and what they are: read, walked through, and written again."""

import json
from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any, Final

import msgspec

from callkeeper_assets.privacy.fields import Kind, judge_unknown
from callkeeper_assets.privacy.numbers import could_hold_number

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode

# Gets a value, its text, and what it is; gives what is put in its place.
Visit = Callable[[Any, str, Kind], Any]

# In place of a value: it is taken out, and what it leaves empty with it.
GONE: Final = object()


class NotJsonError(ValueError):
    """What should be a call is not JSON."""


def _read_float(text: str) -> float | str:
    """Read a number; one that no double holds stays text."""
    number = float(text)
    return number if isfinite(number) else text


def decode(payload: bytes) -> Any:  # noqa: ANN401 -- JSON
    """Return a JSON text's value.

    Raises:
        NotJsonError: It is none.
    """
    try:
        return _decode(payload)
    except (ValueError, RecursionError):
        pass
    try:
        # Halves of surrogate pairs, and numbers that no double holds, are legal JSON.
        return json.loads(payload.decode("utf-8", "replace"), parse_float=_read_float)
    except (ValueError, RecursionError):
        raise NotJsonError from None


def encode(document: Any) -> bytes:  # noqa: ANN401
    """Return a value's JSON text in UTF-8."""
    try:
        return _encode(document)
    except (ValueError, OverflowError):
        return json.dumps(document, ensure_ascii=False).encode("utf-8", "replace")


class Walk:
    """Visits each value of a call that is no object and no list, and puts the answer in its place.

    A text that is JSON itself, as forms have it, is visited as what it says. A name in which a
    number may stand is visited as well, as a text of the kind `name`.
    """

    def __init__(self, kinds: Mapping[str, Kind]) -> None:
        self._kinds = kinds

    def visit(self, node: Any, visit: Visit, path: str = "") -> Any:  # noqa: ANN401
        """Return the call rewritten; `visit` gets a value, its text and what it is."""
        kind = type(node)
        if kind is dict:
            return self._visit_object(node, visit, path)
        if kind is list:
            kept = [one for each in node if (one := self.visit(each, visit, path)) is not GONE]
            return GONE if node and not kept else kept
        if node is None:
            return None
        text = node if kind is str else _spell(node)
        if text[:1] in ("{", "[") and (inner := _read_inner(text)) is not None:
            rewritten = self.visit(inner, visit, path)
            return GONE if rewritten is GONE else encode(rewritten).decode()
        return visit(node, text, self._kinds.get(path) or judge_unknown(path, text))

    def _visit_object(self, node: dict[str, Any], visit: Visit, path: str) -> Any:  # noqa: ANN401
        prefix = f"{path}." if path else ""
        kept: dict[str, Any] = {}
        for name, value in node.items():
            rewritten = self.visit(value, visit, prefix + name)
            if rewritten is not GONE:
                kept[self._visit_name(name, visit, prefix, kept)] = rewritten
        return GONE if node and not kept else kept

    def _visit_name(self, name: str, visit: Visit, prefix: str, taken: Mapping[str, Any]) -> str:
        if not could_hold_number(name) or prefix + name in self._kinds:
            return name
        given = visit(name, name, "name")
        new = given if isinstance(given, str) else "***"
        while new != name and new in taken:
            new += "'"
        return new


def _spell(value: object) -> str:
    # A number given as 79161234567.0 is that number.
    return str(int(value)) if type(value) is float and value.is_integer() else str(value)


def _read_inner(text: str) -> Any:  # noqa: ANN401
    try:
        inner = _decode(text)
    except (ValueError, RecursionError):
        return None
    return inner if isinstance(inner, dict | list) else None
