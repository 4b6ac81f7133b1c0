"""A payload of the inbox as a raw call: JSON under CallKeeper's own names, as its API sends it.

Events have other names in payloads than in the source's list of sent ones. Webhooks of call
tracking name no call: they only hint at one, on some day.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, Literal
from zoneinfo import ZoneInfo

import msgspec

from callkeeper_assets.callkeeper.keys import key_calls
from callkeeper_assets.raw.fields import FIELDS_BY_PATH
from callkeeper_assets.raw.ids import read_call_id
from callkeeper_assets.webhooks.payload import (
    Format,
    PayloadDocument,
    UnreadableError,
    read_document,
    read_event,
    read_object,
    read_raw,
    read_value,
)

# Where a webhook has it in place of `ip`: as an address of the visit.
_ADDRESSES: Final = tuple(path for path in FIELDS_BY_PATH["ip"].paths if path.endswith("uip"))

# Statuses that change later: going on, planned, waiting for the operator's; see `call_status` in
# macros.sql.
_CHANGING: Final = (1, 2, 707)

_NEVER: Final = datetime.min.replace(tzinfo=UTC)

_encode = msgspec.json.Encoder().encode

PayloadEvent = Literal["Call is processing", "Call is over"]
HookEvent = Literal["BEFORE_CALL_START", "AFTER_CALL_FINISH"]

PROCESSING: Final[PayloadEvent] = "Call is processing"
OVER: Final[PayloadEvent] = "Call is over"

HOOK_EVENTS: Final[dict[PayloadEvent, HookEvent]] = {
    PROCESSING: "BEFORE_CALL_START",
    OVER: "AFTER_CALL_FINISH",
}

# Those of the vendor's list that no webhook of a callback has.
_PARAMETERS: Final = (
    *("client_number", "calltracking_number", "manager_number", "time_start", "dtmf_pressed"),
    *("call_status", "call_type", "company_name", "office_name", "source_type"),
)
# What the owner may have named for callbacks as well: the two numbers, and the time.
_RENAMED: Final = ("phone2", "phone1", "date")
_TIME: Final = "time_start"
_FORMATS: Final = ("%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M")
_LATEST_EPOCH: Final = 7_258_118_400  # 2200
# The slowest that an account can have webhooks sent is once an hour.
_DELAY: Final = timedelta(hours=1)
# How far zones are from each other, and a little more.
_FAR: Final = timedelta(hours=27)
_NEAR_MIDNIGHT: Final = timedelta(hours=3)
_DAY: Final = timedelta(days=1)


class UnusablePayloadError(ValueError):
    """A payload that can be no call; the text is the reason, without any phone number."""


@dataclass(frozen=True, slots=True)
class RawCall:
    """A call as one payload describes it.

    Attributes:
        called_at: UTC.
        event: `hook_event`, as the inbox has it.
        payload: The call's JSON.
        is_final: Whether its status can no longer change; None if it names none.
        row_id: The payload's in the inbox; 0 for one that is not from there.
        came_at: When the payload came last.
    """

    call_id: int
    called_at: datetime
    event: str | None
    payload: bytes
    is_final: bool | None = None
    row_id: int = 0
    came_at: datetime = _NEVER


def build_raw_call(form: Format, body: bytes, fields: Mapping[str, str]) -> RawCall:
    """Return a payload's call.

    Args:
        form: The row's `format`.
        body: The row's `body`.
        fields: By path in a raw call, the name under which this account sends the value.

    Raises:
        UnusablePayloadError: It is unreadable, or has no usable id or time.
    """
    try:
        document = read_document(form, body)
    except UnreadableError as error:
        raise UnusablePayloadError(str(error)) from None
    event = read_event(document, fields)
    call = _restore_names(document, fields) if fields else document
    if not read_value(call, "ip"):
        address = next((path for path in _ADDRESSES if read_value(call, path)), None)
        if address is not None:
            call["ip"] = _take(call, address)
    value = read_value(call, "id")
    if read_call_id(value) is None:
        raise UnusablePayloadError(_explain_id(value, fields))
    payload = _encode(call)
    keyed = key_calls([msgspec.Raw(payload)])
    for record in keyed.unusable.values():
        raise UnusablePayloadError(record.reason)
    [(call_id, (epoch, _))] = keyed.items()
    return RawCall(call_id, datetime.fromtimestamp(epoch, UTC), event, payload, _is_final(call))


def _is_final(call: PayloadDocument) -> bool | None:
    code, code2 = (_read_code(call, name) for name in ("status_code", "status2_code"))
    return None if code is None else bool(code2) or code not in _CHANGING


def _read_code(call: PayloadDocument, name: str) -> int | None:
    values = (read_value(call, path) for path in FIELDS_BY_PATH[name].paths)
    return next((code for value in values if (code := read_call_id(value)) is not None), None)


def _explain_id(value: object, fields: Mapping[str, str]) -> str:
    name = fields.get("id", "id")
    if value is None:
        return f"it has no call id ({name})"
    # Not the value itself: where the name is mistaken it can be a phone number.
    return (
        f"its call id ({name}) is no whole number from 0 to 2^63 - 1 but a {type(value).__name__}"
    )


def _take(document: PayloadDocument, path: str) -> msgspec.Raw:
    raw = read_raw(document, path)
    return msgspec.Raw(b"null") if raw is None else raw


def _restore_names(document: PayloadDocument, fields: Mapping[str, str]) -> PayloadDocument:
    """Move each value from the account's name to CallKeeper's; all are taken before any is put."""
    moved = {
        path: _take(document, name)
        for path, name in fields.items()
        if read_value(document, name) is not None
    }
    left = {fields[path] for path in moved}
    call = {name: raw for name, raw in document.items() if name not in left}
    for path, raw in moved.items():
        _put(call, path, raw)
    return call


def _put(call: PayloadDocument, path: str, raw: msgspec.Raw) -> None:
    name, dot, rest = path.partition(".")
    if dot:
        held = read_object(call, name)
        _put(held, rest, raw)
        raw = msgspec.Raw(_encode(held))
    call[name] = raw


"""By the payload's name (`hook_event`), the one in the unified API's `hooks`."""


def _fold(name: str) -> str:
    return " ".join(name.split()).casefold()


_KNOWN: Final[dict[str, PayloadEvent]] = {
    _fold(written): event for event, listed in HOOK_EVENTS.items() for written in (event, listed)
}


def normalise_event(name: str | None) -> str | None:
    """Return an event's one name, whichever vocabulary and case it came in.

    That of the payload, where the event is a known one; else as written, but for blanks and case.
    None where there is none.
    """
    folded = _fold(name or "")
    return _KNOWN.get(folded, folded) or None


def is_known_event(name: str | None) -> bool:
    """Whether a normalised event is one of the two that the source sends by default."""
    return name in HOOK_EVENTS


@dataclass(frozen=True)
class Hint:
    """A call somewhere; `started_at` without a zone if the payload names none, None if no time."""

    started_at: datetime | None


def read_hint(document: PayloadDocument, fields: Mapping[str, str]) -> Hint | None:
    """Return what a payload without a usable call hints at; None if it is none of call tracking.

    Args:
        document: The payload's.
        fields: By path in a raw call, the name under which this account sends the value.
    """
    if read_value(document, fields.get("hook_event", "hook_event")):
        return None
    names = (*_PARAMETERS, *(fields[path] for path in _RENAMED if path in fields))
    if not any(name in document for name in names):
        return None
    values = (read_value(document, name) for name in (_TIME, fields.get("date", _TIME)))
    return Hint(next((at for value in values if (at := _read_time(value))), None))


def _read_time(value: object) -> datetime | None:
    epoch = read_call_id(value)
    if epoch is not None:
        return datetime.fromtimestamp(epoch, UTC) if 0 < epoch < _LATEST_EPOCH else None
    if not isinstance(value, str):
        return None
    text = value.strip()
    with suppress(ValueError):
        return datetime.fromisoformat(text)
    for pattern in _FORMATS:
        with suppress(ValueError):
            return datetime.strptime(text, pattern)  # noqa: DTZ007 -- its zone is not sent
    return None


def guess_days(hint: Hint, came_at: datetime, zone: ZoneInfo) -> set[date]:
    """Return the source's days on which the call can be, as few as may be.

    The zone of its time is not sent: the source's, UTC or the client's. So a time that is not long
    ago does not say more than the webhook's own coming does; one near midnight says less.
    """
    came = {(came_at - back).astimezone(zone).date() for back in (timedelta(), _DELAY)}
    started = hint.started_at
    if started is None:
        return came
    if started.tzinfo is not None:
        return {started.astimezone(zone).date()}
    days = {moment.astimezone(zone).date() for moment in _readings(started, zone)}
    days |= _neighbours(started)
    if abs(started.replace(tzinfo=zone) - came_at) < _FAR:
        days |= came
    return {day for day in days if day <= max(came)} or came


def _readings(started: datetime, zone: ZoneInfo) -> Iterable[datetime]:
    return started.replace(tzinfo=zone), started.replace(tzinfo=UTC)


def _neighbours(started: datetime) -> set[date]:
    since_midnight = started - datetime.combine(started.date(), time())
    if since_midnight < _NEAR_MIDNIGHT:
        return {started.date() - _DAY}
    return {started.date() + _DAY} if since_midnight > _DAY - _NEAR_MIDNIGHT else set()
