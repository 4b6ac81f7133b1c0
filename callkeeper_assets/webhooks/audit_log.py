"""The books of the audit: what the inbox holds of calls, and what each audited day came to.

Synchronous, a connection a question; the schema must be there. A day's rows are replaced in one
transaction; a webhook that stays lost keeps the moment and the run that found it.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from callkeeper_assets.database import connect
from callkeeper_assets.warehouse.accounts import make_account
from callkeeper_assets.webhooks.audit import AuditedDay, DayLoss, HeldPayload
from callkeeper_assets.webhooks.inbox_queries import read_sql


@dataclass(frozen=True)
class AuditStatus:
    """How the audited days of a source stand since a day.

    Attributes:
        last: When one was audited last.
        days_listed: Days for whose calls the source lists webhooks.
        days_unlisted: Days with calls for which it lists none at all: they were not audited.
    """

    last: datetime
    sent: int
    lost: int
    refused: int
    days_listed: int
    days_unlisted: int


def read_held(url: str, name: str, call_ids: Collection[int]) -> dict[int, list[HeldPayload]]:
    """Return the payloads that the inbox holds of each call."""
    held: dict[int, list[HeldPayload]] = {}
    with connect(url) as connection:
        values = {"name": name, "call_ids": list(call_ids)}
        rows: list[tuple[Any, ...]] = connection.execute(read_sql("held"), values).fetchall()
    for call_id, event, comings in rows:
        held.setdefault(call_id, []).append(HeldPayload(event, comings))
    return held


def write_audit(url: str, name: str, days: Sequence[AuditedDay], run_id: str) -> None:
    """Bring the books of these days to what was found; makes the source's account if need be."""
    with connect(url) as connection:
        make_account(connection, name)
        for day in days:
            values: dict[str, object] = {
                "name": name,
                "day": day.day,
                "sent": day.sent,
                "lost": day.lost,
                "refused": day.refused,
                "is_listed": day.is_listed,
                "run_id": run_id,
                "call_ids": [one.hook.call_id for one in day.found],
                "positions": [one.hook.position for one in day.found],
                "events": [one.hook.event for one in day.found],
                "methods": [one.hook.method for one in day.found],
                "statuses": [one.hook.status for one in day.found],
                "kinds": [one.kind for one in day.found],
                "are_held": [one.is_held for one in day.found],
            }
            for statement in ("audit_day", "audit_gone", "audit_lost"):
                connection.execute(read_sql(statement), values)


def read_losses(url: str, name: str, first: date, last: date) -> list[DayLoss]:
    """Return the audited days of [first, last] on which webhooks were sent, sorted."""
    values = {"name": name, "first": first, "last": last}
    with connect(url) as connection:
        rows: list[tuple[Any, ...]] = connection.execute(read_sql("losses"), values).fetchall()
    return [DayLoss(*row) for row in rows]


def audit_statuses(url: str, names: Collection[str], since: date) -> Mapping[str, AuditStatus]:
    """Return how the audit stands, of those of the named sources that were audited since a day."""
    with connect(url) as connection:
        rows: list[tuple[Any, ...]] = connection.execute(
            read_sql("audit_status"), {"names": list(names), "since": since}
        ).fetchall()
    return {name: AuditStatus(*values) for name, *values in rows}
