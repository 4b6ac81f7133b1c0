"""Questions about what is loaded: for the scheduler, for `status`, for the history of one call.

Read only. A source that the warehouse does not know has no days and no status.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final, Literal, LiteralString
from zoneinfo import ZoneInfo

import psycopg

from callkeeper_assets.local_time import find_day, list_stretches
from callkeeper_assets.postgres import connect
from callkeeper_assets.raw.ids import LARGEST_ID
from callkeeper_assets.raw.store import READING
from callkeeper_assets.warehouse.accounts import find_account_by_name
from callkeeper_assets.warehouse.call_sql import read_sql
from callkeeper_assets.warehouse.records import RowCounts
from callkeeper_assets.warehouse.tables import SELECTABLE_TABLES

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
_KNOWN_FROM_WEBHOOKS = """
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
# Days that follow one another have the same distance from their numbers.
_STRETCHES = """
    SELECT name, min(day), max(day)
    FROM (
        SELECT a.name, d.day,
            d.day - row_number() OVER (PARTITION BY a.name ORDER BY d.day)::int AS stretch
        FROM callkeeper_days AS d
        JOIN general_accounts AS a ON a.account_id = d.account_id
        WHERE a.name = ANY(%(names)s)
    ) AS days
    GROUP BY name, stretch
    ORDER BY name, min(day)
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

EventKind = Literal["load", "webhook", "lost", "found", "healed", "gone"]

_BY_UNIVERSAL_ID: Final = """
    SELECT call_id FROM callkeeper_calls
    WHERE account_id = %(account_id)s AND ltrim(trim(universal_id), '0') = %(universal_id)s
"""
_WEBHOOKS: Final = """
    SELECT w.received_at, w.event, w.state, w.reason, w.processed_at, (
        SELECT count(*)
        FROM callkeeper_webhook_repeats AS r
        WHERE r.account_id = w.account_id AND r.webhook_id = w.id
    )
    FROM callkeeper_webhooks AS w
    WHERE w.account_id = %(account_id)s AND w.call_id = %(call_id)s
    ORDER BY w.id
"""
_DISCREPANCIES: Final = """
    SELECT day, parameter, kind, warehouse_value, source_value, found_at, run_id, healed_at,
        healed_run_id
    FROM callkeeper_discrepancies
    WHERE account_id = %(account_id)s AND call_id = %(call_id)s
    ORDER BY found_at, parameter
"""
_LOST: Final = """
    SELECT found_at, day, run_id, event, status, kind, is_held
    FROM callkeeper_lost_webhooks
    WHERE account_id = %(account_id)s AND call_id = %(call_id)s
    ORDER BY found_at, position
"""

_Connection = psycopg.Connection[tuple[Any, ...]]


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
    with calls known only from webhooks.
    """
    values: dict[str, object] = {"name": account_name, "settled_before": settled_before}
    with connect(url) as connection:
        days = {row[0] for row in _all(connection.execute(_OPEN_DAYS, values))}
        known = _all(connection.execute(_KNOWN_FROM_WEBHOOKS, values))
    days |= {find_day(row[0], time_zone) for row in known}
    return sorted(day for day in days if (since or date.min) <= day < before)


def loaded_stretches(url: str, names: Collection[str]) -> dict[str, list[tuple[date, date]]]:
    """Return the stretches of days that are loaded from the API, each by its ends, in order."""
    found: dict[str, list[tuple[date, date]]] = {}
    with connect(url) as connection:
        rows: list[tuple[Any, ...]] = connection.execute(
            _STRETCHES, {"names": list(names)}
        ).fetchall()
        for name, first, last in rows:
            found.setdefault(name, []).append((first, last))
    return found


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


@dataclass(frozen=True)
class PresentCall:
    """A call's row as it is now; numbers are None without facts."""

    called_at: datetime
    status: str | None
    is_final: bool
    origin: str
    loaded_at: datetime
    duration_sec: int | None
    duration2_sec: int | None
    attempt: int | None
    asr_attempts: int | None
    playback_tick: int | None


@dataclass(frozen=True)
class CallEvent:
    """Something that touched a call.

    Attributes:
        day: in the source's time zone; None for a webhook.
        run_id: of a load, or of the reconciliation that found or healed; None where none did.
        details: what there is to say of an event of this kind.
    """

    at: datetime
    kind: EventKind
    day: date | None
    run_id: str | None
    details: Mapping[str, Any]


@dataclass(frozen=True)
class CallHistory:
    """All that is known of a call of one source; `present` is None if it is not in the tables."""

    source: str
    call_id: int
    present: PresentCall | None
    events: tuple[CallEvent, ...]


def read_history(url: str, source: str, zone: ZoneInfo, call_id: int) -> CallHistory | None:
    """Read a call's history; None if the source has nothing of it.

    Args:
        url: of the database.
        source: its name.
        zone: the source's, in which the call's day is.
        call_id: the call's id in CallKeeper, or its id over all services.
    """
    with connect(url) as connection:
        account_id = find_account_by_name(connection, source)
        if account_id is None:
            return None
        call_id = _find_call_id(connection, account_id, call_id)
        scope: dict[str, object] = {"account_id": account_id, "call_id": call_id}
        row = connection.execute(read_sql("history_call").encode(), scope).fetchone()
        present = None if row is None else PresentCall(*row)  # type: ignore[arg-type]
        events = [
            *_read_discrepancies(connection, scope),
            *_read_webhooks(connection, scope),
            *_read_lost(connection, scope),
        ]
        if present is None and not events:
            return None
        days = {event.day for event in events if event.day}
        if present:
            days.add(find_day(present.called_at, zone))
        elif not days:
            # Only webhooks know it, and they come on the day of the call.
            days = {find_day(event.at, zone) for event in events}
        events += _read_loads(connection, {**scope, "days": sorted(days)})
    events.sort(key=lambda event: event.at)
    return CallHistory(source, call_id, present, tuple(events))


def _find_call_id(connection: _Connection, account_id: int, number: int) -> int:
    """Return the id of the call that has a number as its universal id, else the number itself."""
    scope = {"account_id": account_id, "universal_id": str(number)}
    row = connection.execute(_BY_UNIVERSAL_ID, scope).fetchone()
    return row[0] if row else min(number, LARGEST_ID)


def _read_discrepancies(
    connection: _Connection, scope: Mapping[str, object]
) -> Iterator[CallEvent]:
    for (
        day,
        parameter,
        kind,
        warehouse,
        source,
        found_at,
        run_id,
        healed_at,
        healed_run_id,
    ) in connection.execute(_DISCREPANCIES, dict(scope)):
        details = {
            "parameter": parameter,
            "kind": kind,
            "warehouse_value": warehouse,
            "source_value": source,
        }
        yield CallEvent(found_at, "found", day, run_id, details)
        if healed_at:
            ended: EventKind = "healed" if healed_run_id else "gone"
            yield CallEvent(healed_at, ended, day, healed_run_id, details)


def _read_webhooks(connection: _Connection, scope: Mapping[str, object]) -> Iterator[CallEvent]:
    for received_at, event, state, reason, processed_at, repeats in connection.execute(
        _WEBHOOKS, dict(scope)
    ):
        details = {
            "event": event,
            "state": state,
            "reason": reason,
            "processed_at": processed_at,
            "repeats": repeats,
        }
        yield CallEvent(received_at, "webhook", None, None, details)


def _read_lost(connection: _Connection, scope: Mapping[str, object]) -> Iterator[CallEvent]:
    for found_at, day, run_id, event, status, kind, is_held in connection.execute(
        _LOST, dict(scope)
    ):
        details = {"event": event, "status": status, "kind": kind, "is_held": is_held}
        yield CallEvent(found_at, "lost", day, run_id, details)


def _read_loads(connection: _Connection, scope: Mapping[str, object]) -> Iterator[CallEvent]:
    for finished_at, day, origin, run_id, error, tables in connection.execute(
        read_sql("history_loads").encode(), dict(scope)
    ):
        details = {"origin": origin, "error": error, "tables": tables}
        yield CallEvent(finished_at, "load", day, run_id, details)
