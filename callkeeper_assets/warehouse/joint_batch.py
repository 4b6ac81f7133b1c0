"""Calls of several sources as one batch: transformed at once, taken apart again to be merged.

DuckDB plans a statement longer than it works on a few calls: sources with a call each cost mostly
statements. A call's number in the batch stands for its id, which two sources may share.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

import duckdb
import pyarrow as pa

from callkeeper_assets.local_time import split_day
from callkeeper_assets.raw.days import Day
from callkeeper_assets.warehouse.records import Account
from callkeeper_assets.warehouse.transform import Batch

_FRAME: Final = "part_frame"


@dataclass(frozen=True)
class Part:
    """Calls of one source, each on one of the days."""

    account: Account
    days: Sequence[Day]


class JointBatch:
    """The calls of several parts of one time zone.

    Attributes:
        days: of all parts, each once; what is transformed.
    """

    def __init__(self, duck: duckdb.DuckDBPyConnection, parts: Sequence[Part]) -> None:
        self._duck = duck
        self._parts = parts
        by_day: dict[date, list[pa.Table]] = {}
        places: list[int] = []
        ids: list[int] = []
        for place, day in _walk(parts):
            first, count = len(ids), day.calls.num_rows
            numbers = pa.array(range(first, first + count), pa.int64())
            by_day.setdefault(day.day, []).append(day.calls.set_column(0, "call_id", numbers))
            places += [place] * count
            ids += day.calls["call_id"].to_pylist()
        self.days = [Day(day, pa.concat_tables(by_day[day])) for day in sorted(by_day)]
        numbered = {
            "number": pa.array(range(len(ids)), pa.int64()),
            "place": pa.array(places, pa.int32()),
            "own_id": pa.array(ids, pa.int64()),
        }
        duck.register("numbered", pa.table(numbered))

    def show(self, joint: Batch) -> None:
        """Make `frame` the whole batch; a day in it is a day of a part: (place, day)."""
        self._duck.execute(
            "CREATE OR REPLACE TEMP VIEW frame AS SELECT joint.* REPLACE ((place, day) AS day) "
            f"FROM {joint.frame} AS joint JOIN numbered ON number = call_id"
        )

    def take_apart(self, joint: Batch) -> Iterator[Batch]:
        """Yield each part's batch, which must be merged before the next one is taken."""
        for place, part in enumerate(self._parts):
            self._duck.execute(
                f"CREATE OR REPLACE TABLE {_FRAME} AS SELECT joint.* REPLACE (own_id AS call_id) "
                f"FROM {joint.frame} AS joint JOIN numbered ON number = call_id WHERE place = ?",
                [place],
            )
            zone = part.account.time_zone
            yield Batch(
                fetched_at={day.day: day.fetched_at for day in part.days},
                frame=_FRAME,
                segments=[one for day in part.days for one in split_day(day.day, zone)],
            )


def part_counts(
    counts: Mapping[str, Iterable[tuple[tuple[int, date], int]]], places: int
) -> list[dict[str, list[tuple[date, int]]]]:
    """Take counts by table and a part's day apart, as `JointBatch.show` joined them."""
    by_place: list[dict[str, list[tuple[date, int]]]] = [{} for _ in range(places)]
    for table, rows in counts.items():
        for (place, day), count in rows:
            by_place[place].setdefault(table, []).append((day, count))
    return by_place


def _walk(parts: Sequence[Part]) -> Iterator[tuple[int, Day]]:
    for place, part in enumerate(parts):
        for day in part.days:
            yield place, day
