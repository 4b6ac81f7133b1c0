"""What of a payload may be written: its source's rule applied, and forgotten persons taken out.

Such a body is written anew, as JSON, whatever it came as: the same names and values, of two with
one name the last one. What cannot be read loses all that looks like a phone number or an address.
"""

import re
from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec.structs import replace

from callkeeper_assets.privacy.numbers import erase_numbers
from callkeeper_assets.privacy.rewriting import Eraser, NotJsonError, Protector, Scope
from callkeeper_assets.webhooks.delivery import Delivery
from callkeeper_assets.webhooks.document import (
    Format,
    UnreadableError,
    read_document,
)
from callkeeper_assets.webhooks.payload import read_event

# Digits in a way that no pattern looks for: half of another encoding, or escaped one by one.
_OPAQUE: Final = re.compile(rb"\x00|\\u003[0-9]|%3[0-9]")
_DIGIT: Final = re.compile(rb"[0-9]")

_encode = msgspec.json.Encoder().encode


def protect_delivery(
    delivery: Delivery, protector: Protector, fields: Mapping[str, str]
) -> Delivery:
    """Return a payload as it may be written.

    Args:
        delivery: As received.
        protector: Applies the source's rule; it must know `fields`.
        fields: By path in a raw call, the name under which this account sends the value.
    """
    if not protector.rule.is_active:
        return delivery
    after = None
    if delivery.reason is None:
        after = _protect_document(delivery.format, delivery.body, protector)
    if after is None:
        return replace(delivery, body=protect_unreadable(delivery.body, protector))
    event = read_event(read_document("json", after), fields)
    return replace(delivery, format="json", body=after, event=event)


def protect_body(form: Format, body: bytes, protector: Protector) -> tuple[Format, bytes]:
    """As `protect_delivery`, of a body that is stored already."""
    if not protector.rule.is_active:
        return form, body
    after = _protect_document(form, body, protector)
    return (form, protect_unreadable(body, protector)) if after is None else ("json", after)


def _protect_document(form: Format, body: bytes, protector: Protector) -> bytes | None:
    try:
        return protector.protect(_encode(read_document(form, body)))
    except (UnreadableError, NotJsonError):
        return None


def read_as_json(form: Format, body: bytes) -> bytes | None:
    """Return a body's document as JSON, whatever it came as; None if it is no document."""
    try:
        return _encode(read_document(form, body))
    except UnreadableError:
        return None


def protect_unreadable(body: bytes, protector: Protector) -> bytes:
    """Return a body that is no call without anything that looks like a number or an address."""
    if _OPAQUE.search(body):
        return _DIGIT.sub(b"*", body)
    text = body.decode("utf-8", "surrogateescape")
    return protector.protect_unreadable(text).encode("utf-8", "surrogateescape")


def erase_body(form: Format, body: bytes, eraser: Eraser, scope: Scope) -> tuple[Format, bytes]:
    """Return the format and the body of what is left of a forgotten call's payload."""
    try:
        after = eraser.erase(_encode(read_document(form, body)), scope)
    except (UnreadableError, NotJsonError):
        return form, erase_unreadable(body)
    return "json", after


def erase_unreadable(body: bytes) -> bytes:
    """Return a body that is no call without anything that could be a phone number."""
    if _OPAQUE.search(body):
        return _DIGIT.sub(b"*", body)
    text = body.decode("utf-8", "surrogateescape")
    return erase_numbers(text).encode("utf-8", "surrogateescape")
