"""What happened to one call: loads of its days, webhooks, also lost ones, discrepancies, in order.

Read only. Loads are logged by day, not by call: a load of the call's day is told with what it did
to the whole day. Nothing personal is read.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

import psycopg

from callkeeper_assets.database import connect
from callkeeper_assets.local_time import find_day
from callkeeper_assets.warehouse.accounts import find_account_by_name
from callkeeper_assets.warehouse.call_sql import read_sql

EventKind = Literal["load", "webhook", "lost", "found", "healed", "gone"]

_BY_UNIVERSAL_ID: Final = """
    SELECT call_id FROM callkeeper_calls
    WHERE account_id = %(account_id)s AND ltrim(trim(universal_id), '0') = %(universal_id)s
"""
_LARGEST_ID: Final = 2**63 - 1
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


_Connection = psycopg.Connection[tuple[Any, ...]]


def _find_call_id(connection: _Connection, account_id: int, number: int) -> int:
    """Return the id of the call that has a number as its universal id, else the number itself."""
    scope = {"account_id": account_id, "universal_id": str(number)}
    row = connection.execute(_BY_UNIVERSAL_ID, scope).fetchone()
    return row[0] if row else min(number, _LARGEST_ID)


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
