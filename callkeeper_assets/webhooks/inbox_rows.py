"""What waits in the inbox, and the last word of webhooks on each call.

Of a call's payloads a final status outranks one that can change, then the newest coming counts.
Calls known only from webhooks are read here for reports, too; nothing is written for these.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import partial
from typing import Final, Literal

import pyarrow as pa

from callkeeper_assets.config.source import Source
from callkeeper_assets.local_time import day_start
from callkeeper_assets.privacy.rewriting import Eraser, NotJsonError, Scope
from callkeeper_assets.raw.store import (
    Day,
    MissingDayError,
    RawStore,
    UnreadableDayError,
    build_calls,
)
from callkeeper_assets.warehouse.accounts import read_forgotten_of
from callkeeper_assets.warehouse.load_log import find_account_id
from callkeeper_assets.warehouse.session import MOMENT, Session, list_column
from callkeeper_assets.webhooks.inbox import erase_body
from callkeeper_assets.webhooks.payload import Format, digest_of
from callkeeper_assets.webhooks.raw_call import (
    OVER,
    PROCESSING,
    RawCall,
    UnusablePayloadError,
    build_raw_call,
    normalise_event,
)

_COLUMNS: Final = "id, received_at, came_at, event, call_id, format, body"
# Bodies that are in memory at once, of one source: payloads of up to a mebibyte are let in.
_MOST_BYTES: Final = 16 * 1024 * 1024
# A payload's newest coming: its own, or that of its last repeat.
_ROWS: Final = """
    SELECT w.id, w.received_at, w.event, w.call_id, w.format, w.body, greatest(w.received_at, (
        SELECT max(r.received_at) FROM callkeeper_webhook_repeats AS r
        WHERE r.account_id = w.account_id AND r.webhook_id = w.id
    )) AS came_at
    FROM callkeeper_webhooks AS w
"""
_WAITING: Final = f"""
    SELECT {_COLUMNS} FROM (
        SELECT {_COLUMNS}, sum(octet_length(body)) OVER (ORDER BY id) - octet_length(body) AS before
        FROM (
            {_ROWS}
            WHERE w.account_id = $1 AND w.id IN (
                (
                    SELECT id FROM callkeeper_webhooks
                    WHERE account_id = $1 AND state = 'new' ORDER BY id LIMIT $2
                )
                UNION
                (
                    SELECT webhook_id FROM callkeeper_webhook_repeats
                    WHERE account_id = $1 AND is_waiting ORDER BY webhook_id LIMIT $2
                )
            )
            ORDER BY w.id LIMIT $2
        ) AS first
    ) AS measured
    WHERE before < {_MOST_BYTES}
    ORDER BY id
"""  # noqa: S608 -- constants
_PROCESSED: Final = f"""
    SELECT {_COLUMNS} FROM ({_ROWS}
        WHERE w.account_id = $1 AND w.call_id = ANY($2) AND w.state = 'processed'
    ) AS known
"""  # noqa: S608
_RECEIVED: Final = f"""
    SELECT {_COLUMNS} FROM ({_ROWS}
        WHERE w.account_id = $1 AND w.received_at >= $2 AND w.received_at < $3
            AND w.state IN ('new', 'processed')
    ) AS received
"""  # noqa: S608
# Repeats that came after what was read wait on. Of a payload that was processed before and has come
# again without changing anything, what it did the first time stays.
_VERDICTS: Final = """
    WITH given AS (
        SELECT * FROM unnest(
            $2::bigint[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::timestamptz[],
            $8::timestamptz[]
        ) AS v (id, state, reason, call_id, event, called_at, came_at)
    ), repeated AS (
        UPDATE callkeeper_webhook_repeats AS r
        SET is_waiting = false
        FROM given AS v
        WHERE r.account_id = $1 AND r.webhook_id = v.id AND r.is_waiting
            AND r.received_at <= v.came_at
    )
    UPDATE callkeeper_webhooks AS w
    SET state = v.state, reason = v.reason, call_id = v.call_id, event = v.event,
        called_at = v.called_at, processed_at = $9
    FROM given AS v
    WHERE w.account_id = $1 AND w.id = v.id
        AND (w.state = 'new' OR w.state <> v.state OR v.reason IS NULL)
"""
_HINTS: Final = """
    INSERT INTO callkeeper_webhook_hints AS h (account_id, day, hinted_at)
    SELECT $1, * FROM unnest($2::date[], $3::timestamptz[]) ORDER BY 2
    ON CONFLICT (account_id, day) DO UPDATE
    SET hinted_at = greatest(h.hinted_at, excluded.hinted_at)
"""

# Two payloads may have become the same: one of them is then distinguished by its receipt.
_BODY: Final = """
    UPDATE callkeeper_webhooks AS w
    SET format = $3, body = $4, digest = CASE
        WHEN EXISTS (
            SELECT FROM callkeeper_webhooks AS o
            WHERE o.account_id = $1 AND o.digest = $5 AND o.id <> $2
        )
        THEN encode(sha256(uuid_send(w.receipt)), 'hex')
        ELSE $5
    END
    WHERE w.account_id = $1 AND w.id = $2
"""

KNOWN_FROM_SOURCE: Final = "the source's own record of this call is there"
TOO_LATE: Final = "the source did not show this call within the grace period"

# A webhook does not come before its call, but clocks differ.
_EARLIEST: Final = timedelta(hours=1)


@dataclass(frozen=True)
class InboxRow:
    """A stored payload.

    Attributes:
        received_at: When it came the first time.
        came_at: When it came last: byte for byte the same may come again.
        event: As the receiver read it; so `call_id`.
    """

    id: int
    received_at: datetime
    came_at: datetime
    event: str | None
    call_id: int | None
    format: Format
    body: bytes


@dataclass(frozen=True)
class Verdict:
    """What came of a payload; `reason` says why it changed nothing, or why it is rejected.

    Attributes:
        came_at: When it had come last, when it was read.
    """

    row_id: int
    came_at: datetime
    state: Literal["processed", "rejected", "hint"]
    reason: str | None
    call_id: int | None
    event: str | None
    called_at: datetime | None = None


def read_waiting(session: Session, account_id: int, most: int) -> list[InboxRow]:
    """Read some of the payloads that wait for a source, the first stored ones.

    Those that were processed before and have come again wait too: they may be the last word now.
    """
    values = {"account_id": account_id, "most": most}
    return _read(session.query(_WAITING, values))


def read_processed(session: Session, account_id: int, call_ids: Sequence[int]) -> list[InboxRow]:
    """Read the payloads of calls that are processed."""
    if not call_ids:
        return []
    return _read(session.query(_PROCESSED, {"account_id": account_id, "ids": call_ids}))


def read_received(
    session: Session, account_id: int, since: datetime, until: datetime
) -> list[InboxRow]:
    """Read the payloads of a source that came from one moment to another, but rejected ones."""
    values = {
        "account_id": account_id,
        "since": since,
        "until": until,
    }
    return _read(session.query(_RECEIVED, values))


def write_verdicts(
    session: Session, account_id: int, verdicts: Sequence[Verdict], at: datetime
) -> None:
    """Settle payloads at a moment, as often as they had come when they were read."""
    session.execute(
        _VERDICTS,
        {
            "account_id": account_id,
            "id": list_column([one.row_id for one in verdicts], pa.int64()),
            "state": list_column([one.state for one in verdicts], pa.string()),
            "reason": list_column([one.reason for one in verdicts], pa.string()),
            "call_id": list_column([one.call_id for one in verdicts], pa.int64()),
            "event": list_column([one.event for one in verdicts], pa.string()),
            "called_at": list_column([one.called_at for one in verdicts], MOMENT),
            "came_at": list_column([one.came_at for one in verdicts], MOMENT),
            "at": at,
        },
    )


def write_hints(session: Session, account_id: int, hinted_at: Mapping[date, datetime]) -> None:
    """Note the days that are to be read again, each with when its newest hint came.

    Before the hints themselves are settled: who dies between the two notes them again.
    """
    if hinted_at:
        session.execute(
            _HINTS,
            {
                "account_id": account_id,
                "day": list(hinted_at),
                "hinted_at": list(hinted_at.values()),
            },
        )


def write_body(session: Session, account_id: int, row_id: int, form: Format, body: bytes) -> None:
    """Replace a payload's body, where personal data are taken out of it."""
    session.execute(
        _BODY,
        {
            "account_id": account_id,
            "id": row_id,
            "format": form,
            "body": body,
            "digest": digest_of(form, body),
        },
    )


def _read(found: pa.Table) -> list[InboxRow]:
    return [
        InboxRow(*values)
        for values in zip(*(column.to_pylist() for column in found.columns), strict=True)
    ]


# How much a payload says of the call's end; by its event alone where it names no status.
_CAN_CHANGE, _UNKNOWN, _FINAL = range(3)
_RANKS: Final[Mapping[str | None, int]] = {OVER: _FINAL, PROCESSING: _CAN_CHANGE}


def _weigh(call: RawCall) -> tuple[int, datetime, int]:
    if call.is_final is None:
        rank = _RANKS.get(normalise_event(call.event), _UNKNOWN)
    else:
        rank = _FINAL if call.is_final else _CAN_CHANGE
    return rank, call.came_at, call.row_id


def group_by_call(calls: Iterable[RawCall]) -> list[list[RawCall]]:
    """Group payloads by call; the last word on the call comes first."""
    by_call: dict[int, list[RawCall]] = {}
    for call in calls:
        by_call.setdefault(call.call_id, []).append(call)
    return [sorted(group, key=_weigh, reverse=True) for group in by_call.values()]


def explain_leaving(
    call: RawCall, answered: Collection[int], stay_from: datetime | None
) -> str | None:
    """Say why a call is left to an answer of the source; None if only webhooks have it.

    Args:
        call: on the answer's day.
        answered: ids of the calls that are in the answer.
        stay_from: calls before it could have been in it; None if all could have.
    """
    if call.call_id in answered:
        return KNOWN_FROM_SOURCE
    return TOO_LATE if stay_from is not None and call.called_at < stay_from else None


@dataclass(frozen=True)
class PayloadReader:
    """Reads the calls in payloads of one source, without the persons that were forgotten.

    The receiver takes these out of what it stores; here is what came before it knew.

    Attributes:
        fields: By path in a raw call, the name under which this account sends the value.
        scopes: What is left of each forgotten call, by its id.
    """

    session: Session
    account_id: int
    fields: Mapping[str, str]
    scopes: Mapping[int, Scope]

    @classmethod
    def open(cls, session: Session, account_id: int, fields: Mapping[str, str]) -> "PayloadReader":
        """Read which calls of a source were forgotten."""
        return cls(session, account_id, fields, read_forgotten_of(session, account_id))

    def read_call(self, row: InboxRow) -> RawCall:
        """Read a stored payload.

        Raises:
            UnusablePayloadError: It can be no call.
        """
        call = build_raw_call(row.format, row.body, self.fields)
        payload = call.payload
        scope = self.scopes.get(call.call_id)
        if scope is not None:
            try:
                payload = Eraser().erase(payload, scope)
            except NotJsonError:
                payload = b"{}"
        return replace(call, payload=payload, row_id=row.id, came_at=row.came_at)

    def erase_bodies(self, rows: Iterable[InboxRow]) -> None:
        """Take the person out of the inbox where payloads of forgotten calls came in clear."""
        for row in rows:
            scope = self.scopes.get(row.call_id) if row.call_id is not None else None
            if scope is None:
                continue
            form, body = erase_body(row.format, row.body, Eraser(self.fields), scope)
            if (form, body) != (row.format, row.body):
                write_body(self.session, self.account_id, row.id, form, body)


def add_webhook_calls(url: str, source: Source, day: Day) -> Day:
    """Return a day, as it was fetched, with the calls known only from webhooks.

    Args:
        url: of the database.
        source: takes webhooks or not.
        day: of raw calls.

    Raises:
        DatabaseError: it cannot be reached.
        UnavailableError: it went away.
    """
    stay_from = source.account.webhooks_stay_from(day.fetched_at)
    first, last = day.day, day.day + timedelta(days=1)
    start, end = (day_start(one, source.time_zone) for one in (first, last))
    if source.webhook is None or stay_from is None or stay_from >= end:
        return day
    # Without an end, each day of years that a refresh left within its grace would cost a look at
    # all that ever came after it. What comes even later has the next refresh read the day again.
    came = (start - _EARLIEST, end + source.webhook.grace)
    known = set(day.call_ids)
    added_calls = [
        call
        for call in _read_last_words(url, source, *came)
        if start <= call.called_at < end and explain_leaving(call, known, stay_from) is None
    ]
    if not added_calls:
        return day
    import pyarrow as pa  # noqa: PLC0415 -- most sources take no webhooks

    added = build_calls(
        [call.call_id for call in added_calls],
        [int(call.called_at.timestamp()) for call in added_calls],
        [call.payload for call in added_calls],
    )
    tables = [day.calls.select(added.column_names), added]
    both = pa.concat_tables(tables, promote_options="permissive")
    return replace(day, calls=both.sort_by([("called_at", "ascending"), ("call_id", "ascending")]))


def read_days_of_reports(
    url: str, store: RawStore, source: Source, days: Sequence[date], unreadable: dict[date, str]
) -> Iterator[Day]:
    """Read the days' calls; put days whose raw calls cannot be read into `unreadable`, with why.

    The one place where a report's calls come from: raw calls, and webhooks' calls.
    """
    for day, read in store.ahead(partial(store.read, source.name), days):
        problem = source.find_retention_problem(day)
        if problem:
            unreadable[day] = problem
            continue
        try:
            yield add_webhook_calls(url, source, read())
        except MissingDayError:
            unreadable[day] = ""
        except UnreadableDayError as error:
            unreadable[day] = str(error)


def _read_last_words(
    url: str, source: Source, since: datetime, until: datetime
) -> Iterator[RawCall]:
    assert source.webhook is not None  # noqa: S101 -- its calls stay for no time otherwise
    calls: list[RawCall] = []
    with Session(url) as session:
        account_id = find_account_id(session, source.account)
        if account_id is None:
            return
        reader = PayloadReader.open(session, account_id, source.webhook.fields)
        for row in read_received(session, account_id, since, until):
            with suppress(UnusablePayloadError):
                calls.append(reader.read_call(row))
    for words in group_by_call(calls):
        yield words[0]
