"""A call's JSON as values and what they are: read, walked through, and written again."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from callkeeper_assets import exact_json
from callkeeper_assets.privacy.fields import Kind, judge_unknown
from callkeeper_assets.privacy.numbers import could_hold_number
from callkeeper_assets.warehouse.odd_calls import read_visit_text

# Gets a value, its text, and what it is; gives what is put in its place.
Visit = Callable[[Any, str, Kind], Any]

# In place of a value: it is taken out, and what it leaves empty with it.
GONE: Final = object()


class NotJsonError(ValueError):
    """What should be a call is not JSON."""


def decode(payload: bytes) -> Any:  # noqa: ANN401 -- JSON
    """Return a JSON text's value; its numbers keep their characters.

    Raises:
        NotJsonError: It is none.
    """
    try:
        return exact_json.decode(payload)
    except (ValueError, RecursionError):
        raise NotJsonError from None


class Walk:
    """Visits each value of a call that is no object and no list, and puts the answer in its place.

    A text that is JSON itself, as forms have it, is visited as what it says; so is a cookie of the
    visit, whose fields the loader reads as those of the object. A name in which a
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
        inner = _read_inner(text) if text[:1] in ("{", "[") else read_visit_text(path, text)
        if inner is not None:
            rewritten = self.visit(inner, visit, path)
            return GONE if rewritten is GONE else exact_json.encode(rewritten).decode()
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
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _read_inner(text: str) -> Any:  # noqa: ANN401
    try:
        inner = exact_json.decode(text)
    except (ValueError, RecursionError):
        return None
    return inner if isinstance(inner, dict | list) else None
