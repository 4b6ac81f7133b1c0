"""The loader's books: callkeeper_loads and callkeeper_days.

Written in the transaction that loads the days, so that they say what happened.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

import pyarrow as pa

from callkeeper_assets.reading import READING
from callkeeper_assets.warehouse.records import LoadedDay, Origin, RefusedDay, RowCounts
from callkeeper_assets.warehouse.session import MOMENT, Session

_DAYS = """
    INSERT INTO callkeeper_days AS d (account_id, reading, day, raw_calls, non_final, most_calls)
    SELECT $1, $2, n.day, n.calls, n.open, n.calls
    FROM unnest($3::date[], $4::integer[], $5::integer[]) AS n (day, calls, open) ORDER BY 3
    ON CONFLICT (account_id, day) DO UPDATE
    SET reading = excluded.reading, raw_calls = excluded.raw_calls, non_final = excluded.non_final,
        most_calls = {most}
    WHERE (d.reading, d.raw_calls, d.non_final, d.most_calls)
        IS DISTINCT FROM (excluded.reading, excluded.raw_calls, excluded.non_final, {most})
"""
_MOST = "greatest(d.most_calls, excluded.most_calls)"
_MOST_FROM_NOW = "excluded.most_calls"


_NEWEST = """
    SELECT day, max(fetched_at) AS fetched_at
    FROM callkeeper_loads
    WHERE account_id = $1 AND day = ANY($2) AND origin = 'api' AND error IS NULL AND report IS NULL
    GROUP BY day
"""


@dataclass(frozen=True)
class LogHead:
    """What all rows of one batch have in common."""

    account_id: int
    run_id: str
    origin: Origin
    started_at: datetime


def write_log(
    session: Session,
    head: LogHead,
    results: Sequence[LoadedDay | RefusedDay],
    fetched_at: Mapping[date, datetime | None],
) -> None:
    """Log each table of each loaded day, and the reason of each refused one.

    Of what webhooks told, which comes all day long, just the tables that it changed. A day that is
    outdated is loaded anew, and logged then.
    """
    rows: list[tuple[str | None, date, int, int, int, str | None]] = []
    for result in results:
        if isinstance(result, RefusedDay):
            if not result.is_outdated:
                rows.append((None, result.day, 0, 0, 0, result.reason))
            continue
        for table, c in result.counts.items():
            if head.origin == "api" or c != RowCounts():
                rows.append((table, result.day, c.added, c.updated, c.deleted, None))
    _write(session, head, rows, fetched_at)


def read_newest_fetches(
    session: Session, account_id: int, days: Collection[date]
) -> dict[date, datetime | None]:
    """Return when the newest answer was fetched that each day was loaded from.

    None for a day loaded by a version that did not log it; days never loaded are left out.
    """
    found = session.query(
        _NEWEST,
        {
            "account_id": account_id,
            "day": sorted(days),
        },
    )
    return dict(zip(*(column.to_pylist() for column in found.columns), strict=True))


def write_failure(session: Session, head: LogHead, days: Collection[date], error: str) -> None:
    """Log that days were not loaded."""
    _write(session, head, [(None, day, 0, 0, 0, error) for day in sorted(days)], {})


def write_days(
    session: Session, account_id: int, loaded: Sequence[LoadedDay], *, is_forced: bool
) -> None:
    """Remember what the source sent for each day; by force, it is the most that counts from now."""
    session.execute(
        _DAYS.format(most=_MOST_FROM_NOW if is_forced else _MOST),
        {
            "account_id": account_id,
            "reading": READING,
            "day": [d.day for d in loaded],
            "raw_calls": [d.raw_calls for d in loaded],
            "non_final": [d.non_final for d in loaded],
        },
    )


def _write(
    session: Session,
    head: LogHead,
    rows: Sequence[tuple[str | None, date, int, int, int, str | None]],
    fetched_at: Mapping[date, datetime | None],
) -> None:
    tables, days, added, updated, deleted, errors = zip(*rows, strict=True) if rows else [()] * 6
    count = len(rows)
    session.copy(
        "callkeeper_loads",
        pa.table(
            {
                "account_id": pa.array([head.account_id] * count, pa.int32()),
                "table_name": pa.array(tables, pa.string()),
                "day": pa.array(days, pa.date32()),
                "origin": pa.array([head.origin] * count, pa.string()),
                "rows_added": pa.array(added, pa.int32()),
                "rows_updated": pa.array(updated, pa.int32()),
                "rows_deleted": pa.array(deleted, pa.int32()),
                "started_at": pa.array([head.started_at] * count, MOMENT),
                "finished_at": pa.array([datetime.now(UTC)] * count, MOMENT),
                "run_id": pa.array([head.run_id] * count, pa.string()),
                "error": pa.array(errors, pa.string()),
                "fetched_at": pa.array([fetched_at.get(day) for day in days], MOMENT),
            }
        ),
    )
