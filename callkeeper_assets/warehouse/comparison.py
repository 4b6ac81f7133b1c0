"""The comparison of two sets of calls on six parameters: DuckDB over a batch, no PostgreSQL.

One set is the batch's transformed calls (`frame`), as the loader would write them; the other the
rows read back from the warehouse (`existing`). A call that lies on another day than the source's
is missing on the one and too many on the other. Set-based: no call is looked at in Python.
"""

from dataclasses import dataclass
from datetime import date
from typing import Final

import duckdb
import pyarrow as pa

from callkeeper_assets.warehouse.call_sql import read_sql
from callkeeper_assets.warehouse.discrepancies import CALL_ID, NUMBERS

_COMPARE: Final = read_sql("compare").format(
    numbers=", ".join(
        f"s.{name} AS source_{name}, w.{name} AS warehouse_{name}" for name in NUMBERS
    )
)
_MISSING: Final = f"""
    SELECT day, call_id, '{CALL_ID}' AS parameter, standing AS kind,
        CASE WHEN standing = 'missing_in_source' THEN call_id::VARCHAR END AS warehouse_value,
        CASE WHEN standing = 'missing_in_warehouse' THEN call_id::VARCHAR END AS source_value
    FROM compared
    WHERE standing IN ('missing_in_warehouse', 'missing_in_source')
"""
_DIFFERING: Final = (
    f"""
    SELECT day, call_id, '{name}', 'differs',
        warehouse_{name}::VARCHAR, source_{name}::VARCHAR
    FROM compared
    WHERE standing = 'in_both' AND source_{name} IS DISTINCT FROM warehouse_{name}
    """
    for name in NUMBERS
)
_FIND: Final = " UNION ALL ".join((_MISSING, *_DIFFERING))
_COUNT: Final = """
    SELECT day,
        count(*) FILTER (WHERE standing NOT IN ('filtered', 'waiting', 'non_final')),
        count(*) FILTER (WHERE standing = 'non_final'),
        count(*) FILTER (WHERE standing = 'waiting')
    FROM compared GROUP BY day
"""
# Found before healing, or only after it; left is what the second comparison still finds.
_JUDGE: Final = """
    SELECT
        coalesce(l.day, f.day) AS day,
        coalesce(l.call_id, f.call_id) AS call_id,
        coalesce(l.parameter, f.parameter) AS parameter,
        coalesce(f.kind, l.kind) AS kind,
        CASE WHEN f.kind IS NULL THEN l.warehouse_value ELSE f.warehouse_value END
            AS warehouse_value,
        CASE WHEN f.kind IS NULL THEN l.source_value ELSE f.source_value END AS source_value,
        (l.kind IS NULL)::INTEGER AS is_healed
    FROM found AS f
    FULL JOIN remaining AS l
        ON l.day = f.day AND l.call_id = f.call_id AND l.parameter = f.parameter
    ORDER BY ALL
"""


@dataclass(frozen=True)
class Counts:
    """Calls of one day, by how they stand: compared, not final, waiting for the source."""

    calls: int
    non_final: int
    waiting: int


@dataclass(frozen=True)
class Comparison:
    """What a comparison found.

    Attributes:
        discrepancies: columns day, call_id, parameter, kind, warehouse_value, source_value.
        counts: by day; days without a call on either side are left out.
    """

    discrepancies: pa.Table
    counts: dict[date, Counts]


def compare(duck: duckdb.DuckDBPyConnection, settled_before: date) -> Comparison:
    """Compare the relations `frame` and `existing` of a DuckDB, which has `days` as well.

    Makes the relation `compared` there. Calls that are not final are compared on days before
    `settled_before`: nobody waits for them any more.
    """
    duck.execute(_COMPARE, {"settled_before": settled_before})
    found = duck.sql(_FIND).to_arrow_table()
    counts = {day: Counts(*numbers) for day, *numbers in duck.execute(_COUNT).fetchall()}
    return Comparison(found, counts)


def judge(duck: duckdb.DuckDBPyConnection, found: pa.Table, remaining: pa.Table | None) -> pa.Table:
    """Say of each discrepancy whether it is healed: column `is_healed`, 1 or 0.

    Args:
        duck: any.
        found: of the first comparison.
        remaining: of the one after healing; None if nothing was healed.
    """
    duck.register("found", found)
    duck.register("remaining", found if remaining is None else remaining)
    judged = duck.sql(_JUDGE).to_arrow_table()
    for name in ("found", "remaining"):
        duck.unregister(name)
    return judged
