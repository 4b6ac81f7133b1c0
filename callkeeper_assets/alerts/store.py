"""Causes and the outbox, in the warehouse's database: what is told is told once, whoever asks.

What changes of causes and the messages that tell it are one transaction, under a lock: several
processes, of several machines too, tell nothing twice. A message is sent while its row is locked;
before, it is marked as being sent. So who finds one marked that nobody has locked knows that it may
have been sent by a process that was killed: it is sent again, and says so.
"""

import json
import uuid
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, cast

import psycopg

from callkeeper_assets.alerts.facts import read_sql
from callkeeper_assets.alerts.findings import KINDS, Finding, Kind, Severity
from callkeeper_assets.alerts.plans import REPEATED, Cause, Change, Plan
from callkeeper_assets.alerts.settings import Channel, Language
from callkeeper_assets.alerts.texts import compose, tell, tell_end
from callkeeper_assets.postgres import connect
from callkeeper_assets.postgres.locks import ALERTS_LOCK, lock_transaction

Connection = psycopg.Connection[tuple[Any, ...]]

_FIRST_PAUSE: Final = timedelta(seconds=15)
_LONGEST_PAUSE: Final = timedelta(minutes=15)
# Clocks of machines differ by some seconds all the time.
HARDLY_ANY: Final = timedelta(minutes=1)
# What nobody took for so long tells of nothing that still is.
_GIVEN_UP_AFTER: Final = timedelta(days=3)
_KEPT: Final = timedelta(days=90)
_IN_TIME: Final = timedelta(minutes=5)


@dataclass(frozen=True)
class Audience:
    """Who is told by this machine, and in which language."""

    channels: Sequence[Channel]
    machine: str
    language: Language


@dataclass(frozen=True)
class Outgoing:
    """A message that is to be sent.

    Attributes:
        key: Tells it apart for ever; the same however often it is sent.
        document: For a webhook.
        is_uncertain: Whether it may have been sent before.
    """

    id: int
    channel: str
    key: str
    title: str
    body: str = field(repr=False)
    document: dict[str, Any] = field(repr=False)
    is_uncertain: bool


class Taken:
    """A message whose row is locked: nobody else sends it until its block ends."""

    def __init__(self, connection: Connection, message: Outgoing) -> None:
        self._connection = connection
        self.message = message

    def mark_sent(self) -> None:
        """Note that it is delivered."""
        self._connection.execute(read_sql("mark_sent"), {"id": self.message.id})
        self._connection.commit()

    def mark_failed(self, error: str) -> None:
        """Note that it is not, and when it is tried again: ever later, and in the end never."""
        self._connection.execute(
            read_sql("mark_failed"),
            {
                "id": self.message.id,
                "error": error,
                "first_pause": _FIRST_PAUSE,
                "longest_pause": _LONGEST_PAUSE,
                "given_up_after": _GIVEN_UP_AFTER,
            },
        )
        self._connection.commit()


@dataclass(frozen=True)
class Waiting:
    """A message that is not delivered; `error` says why not, the last time."""

    channel: str
    title: str
    created_at: datetime
    attempts: int
    error: str | None


def forget_future(connection: Connection, now: datetime) -> None:
    """Have nothing wait until a clock that was set back has caught up."""
    values = {"now": now, "limit": now + HARDLY_ANY, "longest_pause": _LONGEST_PAUSE}
    connection.execute(read_sql("forget_future"), values)


def read_causes(connection: Connection, now: datetime) -> list[Cause]:
    """Return the causes that are not over."""
    values = {"since": now - REPEATED, "kinds": list(KINDS)}
    return [_build_cause(row) for row in connection.execute(read_sql("causes"), values).fetchall()]


def _build_cause(row: tuple[Any, ...]) -> Cause:
    identity, kind, subject, place, severity, since, values, first, last, told, times = row
    finding = Finding(cast("Kind", kind), subject, cast("Severity", severity), since, values, place)
    return Cause(identity, finding, first, last, told, times)


@contextmanager
def opened_causes(url: str) -> Iterator[Connection]:
    """Yield a connection in a transaction that alone changes causes.

    Raises:
        DatabaseError: The database cannot be reached.
    """
    with connect(url) as connection:
        lock_transaction(connection, ALERTS_LOCK)
        yield connection


def note(connection: Connection, plan: Plan, audience: Audience, now: datetime) -> None:
    """Note what a plan says, and put what is to be told into the outbox, for each channel.

    Without a channel nobody is told: causes are only seen.
    """
    for cause, finding in plan.seen:
        _write_cause(connection, cause, finding, now, is_told=False)
    for dropped in plan.dropped:
        connection.execute("DELETE FROM callkeeper_alerts WHERE id = %s", (dropped.id,))
    told: list[tuple[Change, int]] = []
    for change in plan.changes:
        if change.state == "ended" and change.cause:
            connection.execute(
                "UPDATE callkeeper_alerts SET ended_at = %s WHERE id = %s", (now, change.cause.id)
            )
            told.append((change, change.cause.id))
        else:
            cause_id = _write_cause(
                connection, change.cause, change.finding, now, is_told=bool(audience.channels)
            )
            told.append((change, cause_id))
    if told and audience.channels:
        _write_messages(connection, told, audience, now)


def _write_cause(
    connection: Connection, cause: Cause | None, finding: Finding, now: datetime, *, is_told: bool
) -> int:
    values = {
        "id": cause.id if cause else None,
        "kind": finding.kind,
        "subject": finding.subject,
        "place": finding.place,
        "severity": finding.severity,
        "since": finding.since,
        "values": json.dumps(dict(finding.values)),
        "text": tell(finding).text,
        "now": now,
        "is_told": is_told,
    }
    row = connection.execute(read_sql("see" if cause else "begin"), values).fetchone()
    assert row is not None  # noqa: S101 -- it returns the row's id
    return int(row[0])


def _write_messages(
    connection: Connection, told: Sequence[tuple[Change, int]], audience: Audience, now: datetime
) -> None:
    machine, language = audience.machine, audience.language
    message = compose([change for change, _ in told], machine, language)
    document = {
        "machine": machine,
        "at": now.isoformat(),
        "title": message.title,
        "text": message.body,
        "alerts": [describe_change(change, cause_id, language) for change, cause_id in told],
    }
    for channel in audience.channels:
        connection.execute(
            read_sql("post"),
            {
                "channel": channel.name,
                "key": str(uuid.uuid4()),
                "title": message.title,
                "body": message.body,
                "document": json.dumps(document),
                "now": now,
            },
        )


def describe_change(change: Change, cause_id: int | None, language: Language) -> dict[str, object]:
    """Return what a webhook is told of a cause; `cause_id` is None where there is no table."""
    finding = change.finding
    ended = change.state == "ended"
    told = tell(finding, language)
    return {
        "id": cause_id,
        "state": change.state,
        "kind": finding.kind,
        "subject": finding.subject,
        "severity": finding.severity,
        "since": change.since.isoformat(),
        "text": tell_end(finding, language) if ended else told.text,
        "remedy": "" if ended else told.remedy,
    }


@contextmanager
def taken_message(url: str, channels: Collection[str]) -> Iterator[Taken | None]:
    """Take the oldest message that is due; a channel's go in their order. None if there is none.

    Raises:
        DatabaseError: The database cannot be reached.
    """
    with connect(url) as connection:
        row = connection.execute(read_sql("take"), {"channels": list(channels)}).fetchone()
        if row is None:
            yield None
            return
        message = Outgoing(*cast("tuple[Any, ...]", row))
        connection.execute(read_sql("mark_sending"), {"id": message.id})
        # On disk before it is sent. The row is free for this moment: it is looked at again.
        connection.commit()
        is_ours = connection.execute(read_sql("hold"), {"id": message.id}).fetchone()
        yield Taken(connection, message) if is_ours else None


def list_waiting_messages(connection: Connection) -> list[Waiting]:
    """Return what is not delivered, the oldest first."""
    return [Waiting(*row) for row in connection.execute(read_sql("undelivered")).fetchall()]


def is_anything_untold(connection: Connection, *, has_channels: bool, now: datetime) -> bool:
    """Whether a message is not delivered in time, or there is one to tell and no channel."""
    values = {"has_no_channel": not has_channels, "before": now - _IN_TIME}
    row = connection.execute(read_sql("untold"), values).fetchone()
    return bool(row and row[0])


def delete_old(connection: Connection, now: datetime) -> None:
    """Delete what is long over and long sent."""
    for statement in ("delete_old_alerts", "delete_old_messages"):
        connection.execute(read_sql(statement), {"before": now - _KEPT})
