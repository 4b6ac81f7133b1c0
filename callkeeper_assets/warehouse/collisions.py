"""Calls that are left out of a batch, for another call has the id that was made for them.

An id of the unified API may be a hash, of which there are 4e15: two calls with one are hardly ever
met, and must not become one in silence. Callbacks and calls of call tracking have ids of their own.
"""

from collections.abc import Sequence
from datetime import date

import duckdb

from callkeeper_assets.raw.call_ids import HASHED_IDS
from callkeeper_assets.warehouse.call_sql import read_sql
from callkeeper_assets.warehouse.records import Collision


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
