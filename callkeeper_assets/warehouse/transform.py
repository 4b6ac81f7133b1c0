"""Turns days of raw calls into rows: DuckDB over Arrow, no PostgreSQL.

First a batch is examined: which keys occur, which calls need exact rewriting. Then one statement,
put together for the load, reads the fields that occur. Calls whose made id another call has are
left out and named.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Final
from zoneinfo import ZoneInfo

import duckdb
import pyarrow as pa

from callkeeper_assets.local_time import Segment, split_day
from callkeeper_assets.raw.document import NUMBER_PATTERN, OBJECT_PATTERN, rewrite_call
from callkeeper_assets.raw.fields import FIELD_TREE, FIELDS_BY_PATH, FieldTree, object_paths
from callkeeper_assets.raw.ids import HASHED_IDS
from callkeeper_assets.raw.store import CALL_COLUMNS, Day
from callkeeper_assets.warehouse.call_sql import (
    TransformPlan,
    build_count_of_unread,
    build_transformation,
    read_sql,
)
from callkeeper_assets.warehouse.outcomes import build_outcome_sql
from callkeeper_assets.warehouse.records import BadDataError, Collision, NotJsonCallError

# The objects of more calls are those of so many, in the hope that all are alike.
_SAMPLE: Final = 50
_MOST_AT_ONCE: Final = 2_000
# So many calls are read sooner than DuckDB would have found a better plan: 15 of 60 ms for 300.
_MOST_UNPLANNED: Final = 900

_OUTCOME: Final = (
    "CREATE OR REPLACE MACRO call_outcome(status_code, status2_code, status, is_final, service) AS "
    + build_outcome_sql("")
)

_MOMENT = pa.timestamp("us", "UTC")
# Opened before a fork, each process's to take.
_opened: list[duckdb.DuckDBPyConnection] = []


def leave_out_collisions(
    duck: duckdb.DuckDBPyConnection,
    frame: str,
    query: str,
    noted: dict[date, tuple[Collision, ...]],
) -> None:
    """Delete calls from a batch's table, and note them by day.

    Args:
        duck: has the relations of the query.
        frame: the table.
        query: name of the statement that finds them.
        noted: is added to.
    """
    found: Sequence[tuple[date, int, str, str]] = duck.execute(
        read_sql(query).format(frame=frame, hashed=HASHED_IDS)
    ).fetchall()
    for day, call_id, universal_id, held_by in found:
        noted[day] = (*noted.get(day, ()), Collision(call_id, universal_id, held_by))
        duck.execute(
            f"DELETE FROM {frame} WHERE call_id = ? AND ltrim(trim(universal_id), '0') = ?",
            [call_id, universal_id],
        )


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


@dataclass
class DayBatch:
    """Days that are loaded in one transaction.

    Attributes:
        frame: name of the table of the transformed calls, whether a table of the warehouse keeps
            them or not; call_id is unique.
        segments: of the days, in order.
        fetched_at: of each of the days, as in its details; None where the source was not asked.
        unknown_fields: by day, sorted.
        unusable_values: by day, how many values of a field could not be read, by the field's name.
        collisions: by day, calls that were left out, for another one has their id.
        has_hashed_ids: whether such ids can be among them: others are not looked at.
    """

    fetched_at: dict[date, datetime | None]
    frame: str
    segments: list[Segment]
    unknown_fields: dict[date, tuple[str, ...]] = field(default_factory=dict)
    unusable_values: dict[date, dict[str, int]] = field(default_factory=dict)
    collisions: dict[date, tuple[Collision, ...]] = field(default_factory=dict)
    has_hashed_ids: bool = False

    @property
    def days(self) -> tuple[date, ...]:
        """The days, as they came."""
        return tuple(self.fetched_at)


class Transformer:
    """Transforms batches of one load, one after another, in one thread at a time."""

    def __init__(
        self, duck: duckdb.DuckDBPyConnection, zone: ZoneInfo, plan: TransformPlan
    ) -> None:
        # Its own cursor: another thread reads the frames meanwhile.
        self._duck = duck.cursor()
        self._examiner = Examiner(self._duck)
        self._zone = zone
        self._plan = plan
        self._count = 0

    def transform(self, days: Sequence[Day]) -> DayBatch:
        """Transform days.

        Raises:
            BadDataError: a call lies outside its day, or is not JSON.
        """
        raw = pa.concat_tables([_with_day(day) for day in days])
        segments = [segment for day in days for segment in split_day(day.day, self._zone)]
        raw, seen = self._examiner.examine(raw)
        self._count += 1
        frame = f"frame_{self._count}"
        if self._run(frame, raw, segments, seen):
            raw, seen = self._examiner.rewrite(raw, seen)
            self._run(frame, raw, segments, seen)
        largest_id, collisions = self._check_frame(frame, raw, days)
        return DayBatch(
            fetched_at={day.day: day.fetched_at for day in days},
            frame=frame,
            segments=segments,
            unknown_fields={day: tuple(sorted(names)) for day, names in seen.unknown.items()},
            unusable_values=self._count_unread(frame, raw, seen),
            collisions=collisions,
            has_hashed_ids=largest_id >= HASHED_IDS,
        )

    def _run(self, frame: str, raw: pa.Table, segments: list[Segment], seen: Seen) -> bool:
        """Make the frame; return whether something stands where an object should be."""
        self._duck.register("raw", raw)
        self._duck.register("segments", segment_table(segments))
        switch = "disable" if raw.num_rows <= _MOST_UNPLANNED else "enable"
        self._duck.execute(f"PRAGMA {switch}_optimizer")
        statement = build_transformation(self._plan, seen.known, has_zeros=seen.has_zeros)
        self._duck.execute(
            f"CREATE OR REPLACE TABLE {frame} AS {statement}", list(self._plan.values)
        )
        for name in ("raw", "segments"):
            self._duck.unregister(name)
        found = self._duck.execute(f"SELECT coalesce(bool_or(is_misplaced), false) FROM {frame}")
        return bool(found.fetchall()[0][0])

    def _check_frame(
        self, frame: str, raw: pa.Table, days: Sequence[Day]
    ) -> tuple[int, dict[date, tuple[Collision, ...]]]:
        """Refuse calls outside their day; of a call on two days keep the later day's.

        Returns:
            The largest id; calls that were left out, for another one has their id.
        """
        collisions: dict[date, tuple[Collision, ...]] = {}
        counted = self._duck.execute(
            f"SELECT count(*), count(DISTINCT call_id), coalesce(max(call_id), 0) FROM {frame}"
        )
        calls, ids, largest_id = counted.fetchall()[0]
        if calls != raw.num_rows:
            inside = {
                row[0] for row in self._duck.execute(f"SELECT call_id FROM {frame}").fetchall()
            }
            outside = sorted(set(raw["call_id"].to_pylist()) - inside)
            raise BadDataError(
                f"{raw.num_rows - calls} calls lie outside their day in {self._zone.key} "
                f"(days {days[0].day} to {days[-1].day}; call ids {outside[:5]}). "
                f"Was the source's time_zone changed, or its rules? Load these days from the "
                f"source again."
            )
        if ids != calls:
            leave_out_collisions(self._duck, frame, "collisions_of_batch", collisions)
            self._duck.execute(read_sql("latest").format(frame=frame))
        return largest_id, collisions

    def _count_unread(self, frame: str, raw: pa.Table, seen: Seen) -> dict[date, dict[str, int]]:
        """Count what could not be read, by day and field; nearly always that is nothing."""
        found = self._duck.execute(f"SELECT coalesce(bool_or(has_unread), false) FROM {frame}")
        if not found.fetchall()[0][0]:
            return {}
        self._duck.register("raw", raw)
        statement = build_count_of_unread(seen.known, has_zeros=seen.has_zeros)
        rows = self._duck.execute(statement)
        names = [column[0] for column in rows.description or ()][1:]
        counts = {
            day: {name: count for name, count in zip(names, row, strict=True) if count}
            for day, *row in rows.fetchall()
        }
        self._duck.unregister("raw")
        return {day: by_name for day, by_name in counts.items() if by_name}


def open_duckdb() -> duckdb.DuckDBPyConnection:
    """Open DuckDB in memory: on its caller's thread alone, without extensions, UTC, our macros.

    Nothing is read from files, for which it would start eight threads more.
    """
    if _opened:
        return _opened.pop()
    connection = duckdb.connect(
        config={
            "threads": 1,
            "async_threads": 0,
            "autoinstall_known_extensions": False,
            "TimeZone": "UTC",
        }
    )
    connection.execute(read_sql("macros"))
    connection.execute(_OUTCOME)
    return connection


def prepare_duckdb() -> None:
    """Have one open for each process that is forked from this one.

    A twentieth of a small run's time. Where it cannot be opened, as without memory, each process
    tries for itself, and says so.
    """
    if not _opened:
        with suppress(duckdb.Error, MemoryError):
            _opened.append(open_duckdb())


def _with_day(raw: Day) -> pa.Table:
    calls = raw.calls.select(CALL_COLUMNS)
    return calls.append_column("day", pa.array([raw.day] * calls.num_rows, pa.date32()))


def segment_table(segments: list[Segment]) -> pa.Table:
    """Return segments as the relation that `sql/fields.sql` joins."""
    return pa.table(
        {
            "day": pa.array([s.day for s in segments], pa.date32()),
            "starts_at": pa.array([s.starts_at for s in segments], _MOMENT),
            "ends_at": pa.array([s.ends_at for s in segments], _MOMENT),
            "offset_minutes": pa.array([s.offset_minutes for s in segments], pa.int32()),
        }
    )
