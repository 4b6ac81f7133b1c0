"""What a batch of raw calls holds, before its fields are read: which keys, and which odd calls.

Calls of one shape are looked at once. Those that DuckDB would misread come back rewritten, see
`odd_calls`; the others are not touched.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Final

import duckdb
import pyarrow as pa

from callkeeper_assets.warehouse.call_fields import (
    FIELD_TREE,
    FIELDS_BY_PATH,
    FieldTree,
    object_paths,
)
from callkeeper_assets.warehouse.call_sql import read_sql
from callkeeper_assets.warehouse.errors import NotJsonCallError
from callkeeper_assets.warehouse.odd_calls import NUMBER_PATTERN, OBJECT_PATTERN, rewrite_call

# The objects of more calls are those of so many, in the hope that all are alike.
_SAMPLE: Final = 50
_MOST_AT_ONCE: Final = 2_000


@dataclass
class Seen:
    """What occurs in a batch.

    Attributes:
        known: paths of declared fields.
        unknown: by day, paths that nobody has declared, and where no object is although one
            should be.
        has_zeros: whether a text may hold the character 0.
    """

    known: set[str] = field(default_factory=set)
    unknown: dict[date, set[str]] = field(default_factory=dict)
    has_zeros: bool = False


def _object_nodes() -> list[tuple[str, FieldTree]]:
    nodes = []
    for path in object_paths():
        node: FieldTree = FIELD_TREE
        for part in path.split(".") if path else ():
            child = node[part]
            assert child is not None  # noqa: S101 -- object_paths names objects only
            node = child
        nodes.append((f"{path}." if path else "", node))
    return nodes


_OBJECTS: Final = _object_nodes()
_ALL_PLACES: Final = range(len(_OBJECTS))
_JSON_PATHS: Final = [f"$.{prefix}".rstrip(".") for prefix, _ in _OBJECTS]
_PLACES: Final = {prefix: place for place, (prefix, _) in enumerate(_OBJECTS)}


@dataclass(frozen=True)
class _Key:
    """A key of an object that occurs; `is_odd`: with a call that is to be rewritten."""

    place: int
    name: str
    is_odd: bool
    has_zeros: bool
    day: date | None = None

    @property
    def path(self) -> str:
        return _OBJECTS[self.place][0] + self.name

    @property
    def is_unknown(self) -> bool:
        return self.name not in _OBJECTS[self.place][1]


class Examiner:
    """Looks through batches of raw calls over a connection."""

    def __init__(self, duck: duckdb.DuckDBPyConnection) -> None:
        self._duck = duck

    def examine(self, raw: pa.Table) -> tuple[pa.Table, Seen]:
        """Return the calls as they can be read, and what they hold.

        Raises:
            NotJsonCallError: one is no JSON.
        """
        seen = Seen()
        try:
            keys = self._list_all_keys(raw)
        except duckdb.InvalidInputException:
            raw = _rewrite(raw, self._find_unreadable(raw), seen)
            keys = self._list_all_keys(raw)
        if any(key.is_odd for key in keys) or self._is_misplaced(raw, keys):
            return self.rewrite(raw, seen)
        return raw, self._sum_up(raw, keys, seen)

    def rewrite(self, raw: pa.Table, seen: Seen) -> tuple[pa.Table, Seen]:
        """As `examine`, of calls of which some are odd."""
        raw = _rewrite(raw, self._find_odd(raw), seen)
        return raw, self._sum_up(raw, self._list_all_keys(raw), seen)

    def _is_misplaced(self, raw: pa.Table, keys: Sequence[_Key]) -> bool:
        """Whether something stands where no call has the object that should be there."""
        opened = {key.place for key in keys}
        if _list_objects(keys) <= opened:
            return False
        self._duck.register("raw", raw)
        found = self._duck.execute(
            f"SELECT bool_or(regexp_matches(payload, '{OBJECT_PATTERN}')) FROM raw"
        )
        return bool(found.fetchall()[0][0])

    def _sum_up(self, raw: pa.Table, keys: Sequence[_Key], seen: Seen) -> Seen:
        seen.known = {key.path for key in keys if not key.is_unknown} & FIELDS_BY_PATH.keys()
        seen.has_zeros = any(key.has_zeros for key in keys)
        if any(key.is_unknown for key in keys):
            for key in self._list_keys(raw, _ALL_PLACES, by="day, "):
                if key.is_unknown and key.day:
                    seen.unknown.setdefault(key.day, set()).add(key.path)
        return seen

    def _list_all_keys(self, raw: pa.Table) -> list[_Key]:
        """Ask for the keys of those objects that occur: the fewer, the faster."""
        if raw.num_rows <= _MOST_AT_ONCE:
            return self._list_keys(raw, _ALL_PLACES)
        sampled = _list_objects(self._list_keys(raw.slice(0, _SAMPLE), _ALL_PLACES))
        keys = self._list_keys(raw, sorted(sampled))
        return keys if _list_objects(keys) <= sampled else self._list_keys(raw, _ALL_PLACES)

    def _list_keys(self, raw: pa.Table, places: Sequence[int], *, by: str = "") -> list[_Key]:
        self._duck.register("raw", raw)
        statement = read_sql("keys").format(day=by, number=NUMBER_PATTERN)
        rows = self._duck.execute(
            statement, {"paths": [_JSON_PATHS[place] for place in places]}
        ).fetchall()
        return [
            _Key(places[place], name, is_doubled or is_odd, has_zeros, *day)
            for *day, place, name, is_doubled, is_odd, has_zeros in rows
        ]

    def _find_unreadable(self, raw: pa.Table) -> list[bool]:
        self._duck.register("raw", raw)
        rows = self._duck.execute("SELECT NOT coalesce(json_valid(payload), false) FROM raw")
        return [row[0] for row in rows.fetchall()]

    def _find_odd(self, raw: pa.Table) -> list[bool]:
        self._duck.register("raw", raw)
        statement = read_sql("odd_calls").format(number=NUMBER_PATTERN, object=OBJECT_PATTERN)
        return [row[0] for row in self._duck.execute(statement, {"paths": _JSON_PATHS}).fetchall()]


def _list_objects(keys: Sequence[_Key]) -> set[int]:
    """Return the places of the objects that occur, the call itself among them."""
    return {0} | {_PLACES[f"{key.path}."] for key in keys if f"{key.path}." in _PLACES}


def _rewrite(raw: pa.Table, is_odd: Sequence[bool], seen: Seen) -> pa.Table:
    """Return the calls, odd ones rewritten; note where no object is.

    Raises:
        NotJsonCallError: an odd one is no JSON.
    """
    payloads = raw["payload"].to_pylist()
    for row, is_one in enumerate(is_odd):
        if not is_one:
            continue
        try:
            payloads[row], misplaced = rewrite_call(payloads[row] or "")
        except (ValueError, RecursionError):
            raise NotJsonCallError(raw["day"][row].as_py(), raw["call_id"][row].as_py()) from None
        if misplaced:
            seen.unknown.setdefault(raw["day"][row].as_py(), set()).update(misplaced)
    return raw.set_column(
        raw.schema.get_field_index("payload"), "payload", pa.array(payloads, pa.string())
    )
