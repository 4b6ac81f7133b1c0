"""What a webhook's request brought: its body, how to read it, and what is known of it at once.

Pure, and fast: this runs for each request while the sender waits. The whole call is read later, by
`raw_call`.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from callkeeper_assets.raw.call_ids import read_call_id
from callkeeper_assets.webhooks.document import (
    Document,
    Format,
    UnreadableError,
    is_hollow,
    looks_like_json,
    read_document,
    read_value,
)

_LONGEST_EVENT: Final = 200

_encode = msgspec.json.Encoder().encode


class Payload(msgspec.Struct, frozen=True, gc=False):
    """One request's content.

    Attributes:
        body: As received; the query where that has the fields. Of a call that is told by both, in
            part, the JSON of all of it.
        event: `hook_event`, shortened; None if there is none.
        call_id: None if none can be read.
        reason: Why it cannot be read; None if it can.
    """

    format: Format
    body: bytes
    event: str | None = None
    call_id: int | None = None
    reason: str | None = None


def choose_format(content_type: str, body: bytes) -> Format:
    """How a POST's body is to be read; what it is says more than its label.

    What is neither is JSON that is broken, if it is labelled so: the reason then says where.
    """
    is_labelled_json = "json" in content_type.lower() and b"=" not in body
    return "json" if looks_like_json(body) or is_labelled_json else "form"


def read_event(document: Document, fields: Mapping[str, str]) -> str | None:
    """Return the event's name, in a form that every store takes."""
    value = read_value(document, fields.get("hook_event", "hook_event"))
    if not isinstance(value, str):
        return None
    return value.replace("\0", "")[:_LONGEST_EVENT]


def read_payload(
    content_type: str, query: bytes, body: bytes, fields: Mapping[str, str]
) -> Payload:
    """Read what a request brought.

    The query stands in for a body without fields. A body with fields that does not say which call
    they are of is completed by a query that does.

    Args:
        content_type: As the header has it; empty if there is none.
        query: The URL's, as received.
        body: Of a GET only where it has no query.
        fields: By path in a raw call, the name under which this account sends the value.
    """
    form: Format
    if query and is_hollow(body):
        form, body = "query", query
    else:
        form = choose_format(content_type, body)
    try:
        document = read_document(form, body)
    except UnreadableError as error:
        return Payload(form, body, reason=str(error))
    call_id = _read_id(document, fields)
    if call_id is None and query and form != "query":
        more = _read_query(query)
        if _read_id(more, fields) is not None:
            document = {**more, **document, **_keep_id(more, fields)}
            form, body = "json", _encode(document)
            call_id = _read_id(document, fields)
    return Payload(form, body, read_event(document, fields), call_id)


def _read_id(document: Document, fields: Mapping[str, str]) -> int | None:
    return read_call_id(read_value(document, fields.get("id", "id")))


def _keep_id(document: Document, fields: Mapping[str, str]) -> Document:
    name = fields.get("id", "id").partition(".")[0]
    return {name: document[name]} if name in document else {}


def _read_query(query: bytes) -> Document:
    try:
        return read_document("query", query)
    except UnreadableError:
        return {}
