"""What is remembered of loads: callkeeper_loads, callkeeper_days, the row of the account."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final, NamedTuple

import psycopg
import pyarrow as pa

from callkeeper_assets.raw.store import READING
from callkeeper_assets.warehouse.accounts import FIND_ACCOUNT, MAKE_ACCOUNT, number_parameters
from callkeeper_assets.warehouse.records import Account, LoadedDay, Origin, RefusedDay, RowCounts
from callkeeper_assets.warehouse.session import MOMENT, Session, list_column

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


# Over psycopg. What a report is built from was not fetched for it.
_INSERT: Final = """
    INSERT INTO callkeeper_loads (
        table_name, day, rows_added, rows_updated, rows_deleted, error, report,
        account_id, run_id, origin, started_at, finished_at
    )
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, clock_timestamp())
"""

_FIND = number_parameters(FIND_ACCOUNT, ["name"])
_MAKE = number_parameters(MAKE_ACCOUNT, ["name", "caption"])
_UPDATE = """
    UPDATE general_accounts
    SET caption = $2,
        enabled = true,
        status = 'loaded',
        interval_start = least(interval_start, $3),
        interval_end = greatest(interval_end, $4)
    WHERE account_id = $1
        AND (caption, enabled, status, interval_start, interval_end) IS DISTINCT FROM
            ($2, true, 'loaded', least(interval_start, $3), greatest(interval_end, $4))
"""


class LogRow(NamedTuple):
    """What became of a table, and a day; of no table where an error is logged."""

    table: str | None
    day: date | None
    counts: RowCounts = RowCounts()
    error: str | None = None
    report: str | None = None


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

    Of webhooks' calls, which come all day long, just the tables that changed. A day that is
    outdated is loaded anew, and logged then.
    """
    rows: list[LogRow] = []
    for result in results:
        if isinstance(result, RefusedDay):
            if not result.is_outdated:
                rows.append(LogRow(None, result.day, error=result.reason))
            continue
        for table, counts in result.counts.items():
            if head.origin == "api" or counts != RowCounts():
                rows.append(LogRow(table, result.day, counts))
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
            "day": list_column(sorted(days), pa.date32()),
        },
    )
    return dict(zip(*(column.to_pylist() for column in found.columns), strict=True))


def write_failure(session: Session, head: LogHead, days: Collection[date], error: str) -> None:
    """Log that days were not loaded."""
    _write(session, head, [LogRow(None, day, error=error) for day in sorted(days)], {})


def insert_rows(
    connection: "psycopg.Connection[Any]", head: LogHead, rows: Collection[LogRow]
) -> None:
    """Log rows over psycopg, as of now."""
    own = (head.account_id, head.run_id, head.origin, head.started_at)
    with connection.cursor() as cursor:
        cursor.executemany(
            _INSERT,
            [
                (
                    one.table,
                    one.day,
                    one.counts.added,
                    one.counts.updated,
                    one.counts.deleted,
                    one.error,
                    one.report,
                    *own,
                )
                for one in rows
            ],
        )


def write_days(
    session: Session, account_id: int, loaded: Sequence[LoadedDay], *, is_forced: bool
) -> None:
    """Remember what the source sent for each day; by force, it is the most that counts from now."""
    session.execute(
        _DAYS.format(most=_MOST_FROM_NOW if is_forced else _MOST),
        {
            "account_id": account_id,
            "reading": READING,
            "day": list_column([d.day for d in loaded], pa.date32()),
            "raw_calls": list_column([d.raw_calls for d in loaded], pa.int32()),
            "non_final": list_column([d.non_final for d in loaded], pa.int32()),
        },
    )


def _write(
    session: Session,
    head: LogHead,
    rows: Sequence[LogRow],
    fetched_at: Mapping[date, datetime | None],
) -> None:
    count = len(rows)
    fetched = [fetched_at.get(one.day) if one.day else None for one in rows]
    session.copy(
        "callkeeper_loads",
        pa.table(
            {
                "account_id": pa.array([head.account_id] * count, pa.int32()),
                "table_name": pa.array([one.table for one in rows], pa.string()),
                "day": pa.array([one.day for one in rows], pa.date32()),
                "origin": pa.array([head.origin] * count, pa.string()),
                "rows_added": pa.array([one.counts.added for one in rows], pa.int32()),
                "rows_updated": pa.array([one.counts.updated for one in rows], pa.int32()),
                "rows_deleted": pa.array([one.counts.deleted for one in rows], pa.int32()),
                "started_at": pa.array([head.started_at] * count, MOMENT),
                "finished_at": pa.array([datetime.now(UTC)] * count, MOMENT),
                "run_id": pa.array([head.run_id] * count, pa.string()),
                "error": pa.array([one.error for one in rows], pa.string()),
                "fetched_at": pa.array(fetched, MOMENT),
            }
        ),
    )


@dataclass(frozen=True)
class AccountRow:
    """The source's number, and whether this load made it."""

    account_id: int
    is_new: bool


def find_account_id(session: Session, account: Account) -> int | None:
    """Return the source's number; None if the warehouse does not know it."""
    found = session.query(_FIND, {"name": account.name})
    return found["account_id"][0].as_py() if found.num_rows else None


def find_account(session: Session, account: Account) -> AccountRow:
    """Return the source's row, made if it is missing."""
    name = {"name": account.name}
    found = session.query(_FIND, name)
    if not found.num_rows:
        made = session.query(_MAKE, {**name, "caption": account.caption})
        if made.num_rows:
            return AccountRow(made["account_id"][0].as_py(), is_new=True)
        found = session.query(_FIND, name)
    return AccountRow(found["account_id"][0].as_py(), is_new=False)


def update_account(
    session: Session, account_id: int, account: Account, first: date, last: date
) -> int:
    """Put the caption as configured and the days loaded into the row; 1 if that changed it."""
    return session.execute(
        _UPDATE,
        {
            "account_id": account_id,
            "caption": account.caption,
            "first": first,
            "last": last,
        },
    )
