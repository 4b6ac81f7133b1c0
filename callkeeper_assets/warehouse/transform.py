"""Turns days of raw calls into rows: DuckDB over Arrow, no PostgreSQL.

A batch becomes one table in DuckDB, a row a call, whose columns are named in `sql/transform.sql`,
with `keep_calls`, `keep_facts` and the keys of the dimensions.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from zoneinfo import ZoneInfo

import duckdb
import pyarrow as pa

from callkeeper_assets.local_time import Segment, split_day
from callkeeper_assets.raw.call_ids import HASHED_IDS
from callkeeper_assets.raw.days import Day
from callkeeper_assets.warehouse.call_sql import (
    Plan,
    build_count_of_unread,
    build_transformation,
    read_sql,
)
from callkeeper_assets.warehouse.collisions import leave_out_collisions
from callkeeper_assets.warehouse.errors import BadDataError
from callkeeper_assets.warehouse.examination import Examiner, Seen
from callkeeper_assets.warehouse.records import Collision

_MOMENT = pa.timestamp("us", "UTC")
_RAW_COLUMNS = ("call_id", "called_at", "payload")


@dataclass
class Batch:
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

    def __init__(self, duck: duckdb.DuckDBPyConnection, zone: ZoneInfo, plan: Plan) -> None:
        # Its own cursor: another thread reads the frames meanwhile.
        self._duck = duck.cursor()
        self._examiner = Examiner(self._duck)
        self._zone = zone
        self._plan = plan
        self._count = 0

    def transform(self, days: Sequence[Day]) -> Batch:
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
        return Batch(
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
    """Open DuckDB in memory: one thread, no extension from outside, UTC, our macros."""
    connection = duckdb.connect(
        config={"threads": 1, "autoinstall_known_extensions": False, "TimeZone": "UTC"}
    )
    connection.execute(read_sql("macros"))
    return connection


def _with_day(raw: Day) -> pa.Table:
    calls = raw.calls.select(_RAW_COLUMNS)
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
