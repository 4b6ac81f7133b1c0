"""Turns days of raw calls into rows: DuckDB over Arrow, no PostgreSQL.

A batch becomes one table in DuckDB, a row a call, whose columns are named in `sql/transform.sql`,
with `keep_calls`, `keep_facts` and the keys of the dimensions.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pyarrow as pa

from callkeeper_assets.warehouse.arrow import DAY, INT, MOMENT, TEXT, build_array
from callkeeper_assets.warehouse.call_fields import (
    FIELD_TREE,
    FIELDS_BY_PATH,
    FieldTree,
    object_paths,
)
from callkeeper_assets.warehouse.call_sql import Plan, build_transformation, read_sql
from callkeeper_assets.warehouse.collisions import HASHED_IDS, leave_out_collisions
from callkeeper_assets.warehouse.errors import BadDataError
from callkeeper_assets.warehouse.local_time import Segment, split_day
from callkeeper_assets.warehouse.records import Collision, RawDay

_RAW_COLUMNS = ("call_id", "called_at", "payload")


@dataclass
class Batch:
    """Days that are loaded in one transaction.

    Attributes:
        frame: name of the table of the transformed calls, whether a table of the warehouse keeps
            them or not; call_id is unique.
        segments: of the days, in order.
        webhooks_stay_from: by day, see `RawDay`; so `fetched_at`.
        unknown_fields: by day, sorted.
        collisions: by day, calls that were left out, for another one has their id.
        has_hashed_ids: whether such ids can be among them: others are not looked at.
    """

    days: tuple[date, ...]
    frame: str
    segments: list[Segment]
    webhooks_stay_from: dict[date, datetime | None]
    fetched_at: dict[date, datetime | None]
    unknown_fields: dict[date, tuple[str, ...]] = field(default_factory=dict)
    collisions: dict[date, tuple[Collision, ...]] = field(default_factory=dict)
    has_hashed_ids: bool = False


@dataclass
class _Seen:
    known: set[str]
    unknown: dict[date, set[str]] = field(default_factory=dict)


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


_OBJECTS = _object_nodes()
_JSON_PATHS = [f"$.{prefix}".rstrip(".") for prefix, _ in _OBJECTS]


def _is_unknown(place: int, key: str) -> bool:
    return key not in _OBJECTS[place][1]


def _repair(raw: pa.Table, valid: Sequence[bool]) -> pa.Table:
    """Rewrite payloads that DuckDB cannot read: half of a surrogate pair is legal JSON.

    Raises:
        BadDataError: one is no JSON at all.
    """
    payloads = raw["payload"].to_pylist()
    for row, is_valid in enumerate(valid):
        if is_valid:
            continue
        try:
            document = json.loads(payloads[row] or "")
        except ValueError as error:
            raise BadDataError(
                f"The raw calls of {raw['day'][row]} hold one that is not JSON (call "
                f"{raw['call_id'][row]}). Load the day again from the source."
            ) from error
        text = json.dumps(document, ensure_ascii=False)
        payloads[row] = text.encode("utf-8", "replace").decode()
    return raw.set_column(
        raw.schema.get_field_index("payload"), "payload", build_array(payloads, TEXT)
    )


class Transformer:
    """Transforms batches of one load, one after another, in one thread at a time."""

    def __init__(self, duck: duckdb.DuckDBPyConnection, zone: ZoneInfo, plan: Plan) -> None:
        # Its own cursor: another thread reads the frames meanwhile.
        self._duck = duck.cursor()
        self._zone = zone
        self._plan = plan
        self._count = 0

    def transform(self, days: Sequence[RawDay]) -> Batch:
        """Transform days.

        Raises:
            BadDataError: a call lies outside its day, or is not JSON.
        """
        raw = pa.concat_tables([_with_day(day) for day in days])
        segments = [segment for day in days for segment in split_day(day.day, self._zone)]
        raw, seen = self._examine(raw)
        self._count += 1
        frame = f"frame_{self._count}"
        self._run(frame, raw, segments, seen)
        largest_id, collisions = self._check_frame(frame, raw, days)
        return Batch(
            days=tuple(day.day for day in days),
            frame=frame,
            segments=segments,
            webhooks_stay_from={day.day: day.webhooks_stay_from for day in days},
            fetched_at={day.day: day.fetched_at for day in days},
            unknown_fields={day: tuple(sorted(names)) for day, names in seen.unknown.items()},
            collisions=collisions,
            has_hashed_ids=largest_id >= HASHED_IDS,
        )

    def _examine(self, raw: pa.Table) -> tuple[pa.Table, _Seen]:
        """Find which fields occur; the payloads come back readable."""
        try:
            keys = self._list_keys(raw)
        except duckdb.InvalidInputException:
            self._duck.register("raw", raw)
            valid = self._duck.execute(
                "SELECT coalesce(json_valid(payload), false) FROM raw"
            ).fetchall()
            raw = _repair(raw, [row[0] for row in valid])
            keys = self._list_keys(raw)
        known = {_OBJECTS[place][0] + key for place, key in keys if not _is_unknown(place, key)}
        seen = _Seen(known & FIELDS_BY_PATH.keys())
        if any(_is_unknown(place, key) for place, key in keys):
            for day, place, key in self._list_keys(raw, by="day, "):
                if _is_unknown(place, key):
                    seen.unknown.setdefault(day, set()).add(_OBJECTS[place][0] + key)
        return raw, seen

    def _list_keys(self, raw: pa.Table, *, by: str = "") -> list[tuple[Any, ...]]:
        self._duck.register("raw", raw)
        self._duck.execute(read_sql("keys").format(day=by), {"paths": _JSON_PATHS})
        return self._duck.fetchall()

    def _run(self, frame: str, raw: pa.Table, segments: list[Segment], seen: _Seen) -> None:
        self._duck.register("raw", raw)
        self._duck.register("segments", segment_table(segments))
        zeros = self._duck.execute(
            r"SELECT coalesce(bool_or(contains(payload, '\u0000')), false) FROM raw"
        ).fetchall()
        statement = build_transformation(self._plan, seen.known, has_zeros=zeros[0][0])
        self._duck.execute(
            f"CREATE OR REPLACE TABLE {frame} AS {statement}", list(self._plan.values)
        )
        for name in ("raw", "segments"):
            self._duck.unregister(name)

    def _check_frame(
        self, frame: str, raw: pa.Table, days: Sequence[RawDay]
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
                f"Was the source's time_zone changed? Load these days from the source again."
            )
        if ids != calls:
            leave_out_collisions(self._duck, frame, "collisions_of_batch", collisions)
            self._duck.execute(read_sql("latest").format(frame=frame))
        return largest_id, collisions


def open_duckdb() -> duckdb.DuckDBPyConnection:
    """Open DuckDB in memory: one thread, no extension from outside, UTC, our macros."""
    connection = duckdb.connect(
        config={"threads": 1, "autoinstall_known_extensions": False, "TimeZone": "UTC"}
    )
    connection.execute(read_sql("macros"))
    return connection


def _with_day(raw: RawDay) -> pa.Table:
    calls = raw.calls.select(_RAW_COLUMNS)
    return calls.append_column("day", build_array([raw.day] * calls.num_rows, DAY))


def segment_table(segments: list[Segment]) -> pa.Table:
    """Return segments as the relation that `sql/fields.sql` joins."""
    return pa.table(
        {
            "day": build_array([s.day for s in segments], DAY),
            "starts_at": build_array([s.starts_at for s in segments], MOMENT),
            "ends_at": build_array([s.ends_at for s in segments], MOMENT),
            "offset_minutes": build_array([s.offset_minutes for s in segments], INT),
        }
    )
