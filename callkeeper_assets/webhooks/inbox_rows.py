"""The inbox as processing sees it: what waits, what is known of a call, what came of it.

Arrow both ways, over the loader's connection: verdicts are written in the transaction that loads
the calls. What the receiver stores, `inbox` writes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final, Literal

import pyarrow as pa

from callkeeper_assets.warehouse.session import MOMENT, Session
from callkeeper_assets.webhooks.delivery import digest_of
from callkeeper_assets.webhooks.document import Format

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

# Two payloads may have become the same: one of them is then told apart by its receipt.
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


@dataclass(frozen=True)
class Row:
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


def read_waiting(session: Session, account_id: int, most: int) -> list[Row]:
    """Read some of the payloads that wait for a source, the first stored ones.

    Those that were processed before and have come again wait too: they may be the last word now.
    """
    values = {"account_id": account_id, "most": most}
    return _read(session.query(_WAITING, values))


def read_processed(session: Session, account_id: int, call_ids: Sequence[int]) -> list[Row]:
    """Read the payloads of calls that are processed."""
    if not call_ids:
        return []
    return _read(session.query(_PROCESSED, {"account_id": account_id, "ids": call_ids}))


def read_received(session: Session, account_id: int, since: datetime, until: datetime) -> list[Row]:
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
            "id": [one.row_id for one in verdicts],
            "state": [one.state for one in verdicts],
            "reason": pa.array([[one.reason for one in verdicts]], pa.list_(pa.string())),
            "call_id": pa.array([[one.call_id for one in verdicts]], pa.list_(pa.int64())),
            "event": pa.array([[one.event for one in verdicts]], pa.list_(pa.string())),
            "called_at": pa.array([[one.called_at for one in verdicts]], pa.list_(MOMENT)),
            "came_at": [one.came_at for one in verdicts],
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


def _read(found: pa.Table) -> list[Row]:
    return [
        Row(*values)
        for values in zip(*(column.to_pylist() for column in found.columns), strict=True)
    ]
