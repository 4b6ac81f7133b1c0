"""Raw calls of a day, read once for all reports of a run, and which of their fields are new.

A field is new if neither the API's documentation names its path nor an earlier loaded day had it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from callkeeper_assets.warehouse.call_fields import FIELD_TREE, FieldTree
from callkeeper_assets.warehouse.errors import NotJsonCallError
from callkeeper_assets.warehouse.odd_calls import is_misplaced, read_call

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Call:
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


def read_calls(day: date, calls: "pa.Table") -> Iterator[Call]:
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
        yield Call(call_id, called_at.isoformat(), document)


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
