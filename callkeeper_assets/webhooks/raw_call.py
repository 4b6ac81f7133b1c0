"""A payload of the inbox as a raw call: JSON under CallKeeper's own names, as its API sends it.

The account's own names are put back (`webhook.fields`), names that nobody knows are kept, and a
value keeps its text. What is no call is refused for good: it will be none the next time either.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import msgspec

from callkeeper_assets.api.calls import key_calls
from callkeeper_assets.raw.call_ids import read_call_id
from callkeeper_assets.warehouse.call_fields import FIELDS_BY_PATH
from callkeeper_assets.webhooks.document import (
    Document,
    Format,
    UnreadableError,
    read_document,
    read_object,
    read_raw,
    read_value,
)
from callkeeper_assets.webhooks.payload import read_event

# Where a webhook has it in place of `ip`: as an address of the visit.
_ADDRESSES: Final = tuple(path for path in FIELDS_BY_PATH["ip"].paths if path.endswith("uip"))

# Statuses that change later: going on, planned, waiting for the operator's; see `call_status` in
# macros.sql.
_CHANGING: Final = (1, 2, 707)

_encode = msgspec.json.Encoder().encode


class UnusablePayloadError(ValueError):
    """A payload that can be no call; the text is the reason, without any phone number."""


@dataclass(frozen=True, slots=True)
class RawCall:
    """One call.

    Attributes:
        called_at: UTC.
        event: `hook_event`, as the inbox has it.
        payload: The call's JSON.
        is_final: Whether its status can no longer change; None if it names none.
    """

    call_id: int
    called_at: datetime
    event: str | None
    payload: bytes
    is_final: bool | None = None


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


def _is_final(call: Document) -> bool | None:
    code, code2 = (_read_code(call, name) for name in ("status_code", "status2_code"))
    return None if code is None else bool(code2) or code not in _CHANGING


def _read_code(call: Document, name: str) -> int | None:
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


def _take(document: Document, path: str) -> msgspec.Raw:
    raw = read_raw(document, path)
    return msgspec.Raw(b"null") if raw is None else raw


def _restore_names(document: Document, fields: Mapping[str, str]) -> Document:
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


def _put(call: Document, path: str, raw: msgspec.Raw) -> None:
    name, dot, rest = path.partition(".")
    if dot:
        held = read_object(call, name)
        _put(held, rest, raw)
        raw = msgspec.Raw(_encode(held))
    call[name] = raw
