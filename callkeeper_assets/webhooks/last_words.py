"""The last word of webhooks on each call: which of a call's payloads counts, and whether it does.

A status that is final counts more than one that can change, whatever the event is called; of two
alike the one that came last, and one that comes again has come last: the same comings give the same
words in any order. The source's own answer has more to say, and of who was forgotten nothing is
said: both hold for what is loaded and for what only reports read.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from callkeeper_assets.privacy.rewriting import Eraser, NotJsonError, Scope
from callkeeper_assets.warehouse.forgotten_calls import read_forgotten_of
from callkeeper_assets.warehouse.session import Session
from callkeeper_assets.webhooks.events import OVER, PROCESSING, normalise_event
from callkeeper_assets.webhooks.inbox_rows import Row, write_body
from callkeeper_assets.webhooks.protection import erase_body
from callkeeper_assets.webhooks.raw_call import RawCall, build_raw_call

# How much a payload says of the call's end; by its event alone where it names no status.
_CAN_CHANGE, _UNKNOWN, _FINAL = range(3)
_RANKS: Final[Mapping[str | None, int]] = {OVER: _FINAL, PROCESSING: _CAN_CHANGE}

TOLD_BY_SOURCE: Final = "the source's own record of this call is there"
TOO_LATE: Final = "the source did not show this call within the grace period"


def _weigh(call: RawCall) -> tuple[int, datetime, int]:
    if call.is_final is None:
        rank = _RANKS.get(normalise_event(call.event), _UNKNOWN)
    else:
        rank = _FINAL if call.is_final else _CAN_CHANGE
    return rank, call.came_at, call.row_id


def group_by_call(calls: Iterable[RawCall]) -> list[list[RawCall]]:
    """Group what payloads tell by call; the last word on the call comes first."""
    by_call: dict[int, list[RawCall]] = {}
    for call in calls:
        by_call.setdefault(call.call_id, []).append(call)
    return [sorted(group, key=_weigh, reverse=True) for group in by_call.values()]


def leave_to_source(
    call: RawCall, answered: Collection[int], stay_from: datetime | None
) -> str | None:
    """Say why a call is left to an answer of the source; None if only webhooks can tell of it.

    Args:
        call: on the answer's day.
        answered: ids of the calls that are in the answer.
        stay_from: calls before it could have been in it; None if all could have.
    """
    if call.call_id in answered:
        return TOLD_BY_SOURCE
    return TOO_LATE if stay_from is not None and call.called_at < stay_from else None


@dataclass(frozen=True)
class Teller:
    """Reads what payloads of one source tell, without the persons that were forgotten.

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
    def open(cls, session: Session, account_id: int, fields: Mapping[str, str]) -> "Teller":
        """Read which calls of a source were forgotten."""
        return cls(session, account_id, fields, read_forgotten_of(session, account_id))

    def read_call(self, row: Row) -> RawCall:
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

    def erase_bodies(self, rows: Iterable[Row]) -> None:
        """Take the person out of the inbox where payloads of forgotten calls came in clear."""
        for row in rows:
            scope = self.scopes.get(row.call_id) if row.call_id is not None else None
            if scope is None:
                continue
            form, body = erase_body(row.format, row.body, Eraser(self.fields), scope)
            if (form, body) != (row.format, row.body):
                write_body(self.session, self.account_id, row.id, form, body)
