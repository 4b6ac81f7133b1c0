"""Questions about what is loaded, for the scheduler and for `callkeeper status`.

Read only. A source that the warehouse does not know has no days and no status.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, LiteralString
from zoneinfo import ZoneInfo

from callkeeper_assets.database import connect
from callkeeper_assets.local_time import find_day, list_stretches
from callkeeper_assets.reading import READING
from callkeeper_assets.warehouse.call_sql import read_sql
from callkeeper_assets.warehouse.records import RowCounts
from callkeeper_assets.warehouse.tables import SELECTABLE_TABLES

if TYPE_CHECKING:
    import psycopg

_OUTDATED_DAYS = """
    SELECT d.day
    FROM callkeeper_days AS d
    JOIN general_accounts AS a ON a.account_id = d.account_id
    WHERE a.name = %(name)s AND d.reading < %(reading)s
    ORDER BY d.day
"""
_OPEN_DAYS = """
    SELECT d.day
    FROM callkeeper_days AS d
    JOIN general_accounts AS a ON a.account_id = d.account_id
    WHERE a.name = %(name)s AND d.non_final > 0
        AND (%(settled_before)s::date IS NULL OR d.day >= %(settled_before)s)
"""
# An index has just these.
_TOLD_BY_WEBHOOKS = """
    SELECT c.called_at
    FROM callkeeper_calls AS c
    JOIN general_accounts AS a ON a.account_id = c.account_id
    WHERE a.name = %(name)s AND c.origin = 'webhook'
"""
_NEWEST_DAYS = """
    SELECT a.name, max(d.day)
    FROM callkeeper_days AS d
    JOIN general_accounts AS a ON a.account_id = d.account_id
    WHERE a.name = ANY(%(names)s)
    GROUP BY a.name
"""
_SETTLED = """
    SELECT d.day, d.non_final
    FROM callkeeper_days AS d
    JOIN general_accounts AS a ON a.account_id = d.account_id
    WHERE a.name = %(name)s AND d.non_final > 0 AND d.day < %(settled_before)s
"""
_SETTLED_IDS = """
    SELECT c.call_id
    FROM unnest(%(starts)s::timestamptz[], %(ends)s::timestamptz[]) AS d (starts_at, ends_at)
    JOIN general_accounts AS a ON a.name = %(name)s
    JOIN callkeeper_calls AS c ON c.account_id = a.account_id
        AND c.called_at >= d.starts_at AND c.called_at < d.ends_at
    WHERE NOT c.is_final AND c.origin = 'api'
    ORDER BY c.called_at
    LIMIT %(most)s
"""
_RUN_TOTALS = """
    SELECT table_name, sum(rows_added)::int, sum(rows_updated)::int, sum(rows_deleted)::int
    FROM callkeeper_loads
    WHERE run_id = %(run_id)s AND error IS NULL
    GROUP BY table_name
    ORDER BY table_name
"""
_RECONCILIATIONS = """
    SELECT
        a.name,
        (SELECT max(reconciled_at) FROM callkeeper_days AS d WHERE d.account_id = a.account_id),
        count(d.call_id) FILTER (WHERE d.found_at >= %(since)s)::int,
        count(d.call_id) FILTER (
            WHERE d.healed_at >= %(since)s AND d.healed_run_id IS NOT NULL
        )::int,
        count(d.call_id) FILTER (WHERE d.healed_at IS NULL)::int
    FROM general_accounts AS a
    LEFT JOIN callkeeper_discrepancies AS d ON d.account_id = a.account_id
    WHERE a.name = ANY(%(names)s)
    GROUP BY a.name, a.account_id
"""
# Built before the day was last loaded, from another definition, or never.
_STALE_OF_REPORT = """
    SELECT d.day
    FROM callkeeper_days AS d
    JOIN general_accounts AS a ON a.account_id = d.account_id AND a.name = %(name)s
    LEFT JOIN callkeeper_report_days AS b
        ON b.account_id = d.account_id AND b.day = d.day AND b.report = %(report)s
    WHERE b.definition IS DISTINCT FROM %(definition)s
        OR EXISTS (
            SELECT FROM callkeeper_loads AS l
            WHERE l.account_id = d.account_id AND l.day = d.day AND l.error IS NULL
                AND l.table_name = ANY(%(tables)s) AND l.finished_at > b.built_at
        )
    ORDER BY d.day
"""


@dataclass(frozen=True)
class ReconciliationStatus:
    """How a source's reconciliation stands.

    Attributes:
        last: when days were last compared; None if never.
        found: discrepancies since `since`; as healed.
        open: all that are not healed.
    """

    last: datetime | None
    found: int
    healed: int
    open: int


@dataclass(frozen=True)
class SourceStatus:
    """What is loaded of one source.

    Attributes:
        days: how many are loaded.
        calls: rows of callkeeper_calls.
        rows_added: in all tables since `since`; as rows_updated, rows_deleted.
        last_load: end of the last load since `since` that did not fail.
        outdated_days: of `days`, those that an older reading of raw calls filled.
    """

    name: str
    caption: str | None
    first_day: date | None
    last_day: date | None
    days: int
    calls: int
    rows_added: int
    rows_updated: int
    rows_deleted: int
    last_load: datetime | None
    outdated_days: int


def unsettled_days(
    url: str,
    account_name: str,
    time_zone: ZoneInfo,
    before: date,
    *,
    since: date | None = None,
    settled_before: date | None = None,
) -> list[date]:
    """Return the days of [since, before) that are to be read again, sorted.

    Those that hold calls whose status can still change, as the source sent them at the day's last
    load, whether filters keep these calls or not, but for days before `settled_before`; and those
    with calls that only webhooks have told of.
    """
    values: dict[str, object] = {"name": account_name, "settled_before": settled_before}
    with connect(url) as connection:
        days = {row[0] for row in _all(connection.execute(_OPEN_DAYS, values))}
        told = _all(connection.execute(_TOLD_BY_WEBHOOKS, values))
    days |= {find_day(row[0], time_zone) for row in told}
    return sorted(day for day in days if (since or date.min) <= day < before)


def newest_days(url: str, names: Collection[str]) -> dict[str, date]:
    """Return the newest day loaded from the API of those of the named sources that have one."""
    return dict(_fetch(url, _NEWEST_DAYS, {"names": list(names)}))


def settled_calls(
    url: str, account_name: str, time_zone: ZoneInfo, settled_before: date, most: int
) -> tuple[int, tuple[int, ...]]:
    """Return how many calls before a day are not final, and the ids of the oldest.

    Counted as the source sent them; ids of calls that a filter keeps out of the table are unknown.
    """
    scope: dict[str, object] = {"name": account_name, "settled_before": settled_before}
    with connect(url) as connection:
        days: dict[date, int] = dict(_all(connection.execute(_SETTLED, scope)))
        if not days:
            return 0, ()
        stretches = list_stretches(days, time_zone)
        bounds = {
            "starts": [start for start, _ in stretches],
            "ends": [end for _, end in stretches],
            "most": most,
        }
        ids = _all(connection.execute(_SETTLED_IDS, {**scope, **bounds}))
    return sum(days.values()), tuple(row[0] for row in ids)


def outdated_days(url: str, account_name: str) -> list[date]:
    """Return the days of a source that an older reading of raw calls filled, sorted."""
    values = {"name": account_name, "reading": READING}
    return [row[0] for row in _fetch(url, _OUTDATED_DAYS, values)]


def source_statuses(url: str, names: Collection[str], since: datetime) -> list[SourceStatus]:
    """Return the status of those of the named sources that the warehouse knows, by name."""
    values = {"names": list(names), "since": since, "reading": READING}
    rows = _fetch(url, read_sql("status").encode(), values)
    return [SourceStatus(*row) for row in rows]


def reconciliation_statuses(
    url: str, names: Collection[str], since: datetime
) -> dict[str, ReconciliationStatus]:
    """Return how reconciliation stands, of those of the named sources that the warehouse knows."""
    rows = _fetch(url, _RECONCILIATIONS, {"names": list(names), "since": since})
    return {name: ReconciliationStatus(*values) for name, *values in rows}


def total_run(url: str, run_id: str) -> dict[str, RowCounts]:
    """Return what a run did to each table, over all its days."""
    rows = _fetch(url, _RUN_TOTALS, {"run_id": run_id})
    return {table: RowCounts(added, updated, deleted) for table, added, updated, deleted in rows}


def stale_days_of_report(url: str, account_name: str, report: str, definition: str) -> list[date]:
    """Return the loaded days for which a report has to be built, or built again, sorted.

    Those are: days never built, or built from another definition; days whose calls were loaded
    after they were built, by a refresh, a reconciliation that healed them or a webhook.
    """
    values: dict[str, object] = {
        "name": account_name,
        "report": report,
        "definition": definition,
        "tables": list(SELECTABLE_TABLES),
    }
    return [row[0] for row in _fetch(url, _STALE_OF_REPORT, values)]


def _fetch(
    url: str, statement: LiteralString | bytes, values: dict[str, object]
) -> list[tuple[Any, ...]]:
    with connect(url) as connection:
        return _all(connection.execute(statement, values))


def _all(cursor: "psycopg.Cursor[tuple[object, ...]]") -> list[tuple[Any, ...]]:
    return cursor.fetchall()
