"""What a webhook's request brought: its body as a document, and what is known of it at once.

JSON, forms and queries become names with their values as JSON text. A delivery is one payload on
its way to the inbox, with the number of its coming.
"""

import hashlib
import itertools
import os
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final, Literal
from urllib.parse import parse_qsl

import msgspec

from callkeeper_assets.raw.document import decode, encode
from callkeeper_assets.raw.ids import read_call_id

Format = Literal["json", "form", "query"]
PayloadDocument = dict[str, msgspec.Raw]

# A call has three levels. Parsers further on have limits of their own, far above this one.
DEEPEST: Final = 64
_BOM: Final = b"\xef\xbb\xbf"
_MOST_FIELDS: Final = 5_000
_LONGEST_REASON: Final = 80
_LONGEST_PART_HEAD: Final = 1_000

_STRING_OR_BRACKET: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
_KEY_PART: Final = re.compile(r"\[([^\[\]]*)\]")
_PART_NAME: Final = re.compile(
    rb'content-disposition:[^\r\n]*?[ ;]name="([^"\r\n]*)"', re.IGNORECASE
)

# A plus that nobody escaped in a query arrives as a blank: before a phone number, also in a list of
# them, and before the zone of a time. With its country's code a number has 7 to 15 digits, but 11
# where that is 1: a moment in seconds is none.
_BLANK_BEFORE_NUMBER: Final = re.compile(r"(^|_) (?=(?:1\d{10}|[2-9]\d{6,14})(?:[\^_]|$))")
_BLANK_BEFORE_ZONE: Final = re.compile(
    r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?) (?=\d\d(?::?\d\d(?!\d)|$))"
)
_IDS: Final = ("id", "call_id")
_HALF: Final = re.compile(rb"\\u[dD][89a-fA-F]")
# What bodies without any field are made of.
_HOLLOW: Final = b" \t\r\n[]{}" + _BOM
_LONGEST_HOLLOW: Final = 64

_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_object = msgspec.json.Decoder(PayloadDocument).decode
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode

_RANDOM_BYTES: Final = 10
_COUNTER_BYTES: Final = 6

_LONGEST_EVENT: Final = 200


class UnreadableError(ValueError):
    """A body that is no document; the text is the reason, without any of the body."""


def looks_like_json(body: bytes) -> bool:
    """Whether the body begins as JSON does, and no form can."""
    return body.removeprefix(_BOM).lstrip()[:1] in (b"{", b"[")


def is_hollow(body: bytes) -> bool:
    """Whether a body has no field at all: blanks, `{}`, `[]`, `[{}]`, `null`."""
    return len(body) <= _LONGEST_HOLLOW and body.translate(None, _HOLLOW) in (b"", b"null")


def read_document(form: Format, body: bytes) -> PayloadDocument:
    """Return the document; of two values with one name the last one counts.

    That of a list is its one element.

    Raises:
        UnreadableError: It is empty, broken, no UTF-8, no object, or nested too deep.
    """
    if not body.strip():
        raise UnreadableError("it is empty")
    try:
        return _read_json(body) if form == "json" else _read_form(body)
    except UnicodeDecodeError as error:
        raise UnreadableError(f"it is not UTF-8, at byte {error.start}") from None


def read_raw(document: PayloadDocument, path: str) -> msgspec.Raw | None:
    """Return the JSON at a name, or at a dotted path where no name is like it, or None."""
    if path in document:
        return document[path]
    parent, dot, rest = path.partition(".")
    return read_raw(read_object(document, parent), rest) if dot else None


def read_value(document: PayloadDocument, path: str) -> Any:  # noqa: ANN401 -- whatever was sent
    """Return the value there, as `read_raw` finds it; a number that nothing can hold is None."""
    raw = read_raw(document, path)
    try:
        return None if raw is None else _decode(raw)
    except (ValueError, RecursionError):
        return None


def read_object(document: PayloadDocument, name: str) -> PayloadDocument:
    """Return the object of a name; an empty one if there is none."""
    try:
        return _decode_object(document[name])
    except (KeyError, ValueError, RecursionError):
        return {}


def _read_json(body: bytes) -> PayloadDocument:
    text = body.removeprefix(_BOM)
    if not text.isascii():
        text.decode()  # msgspec does not look into the strings that it hands out raw
    try:
        document = _decode_legal(text)
    except msgspec.DecodeError as error:
        raise UnreadableError(f"it is not JSON: {str(error)[:_LONGEST_REASON]}") from None
    except RecursionError:
        raise UnreadableError(f"it is nested deeper than {DEEPEST} levels") from None
    # Nearly no body has as many brackets; only then is it walked through.
    if _count_brackets(text) > DEEPEST and _measure_depth(text) > DEEPEST:
        raise UnreadableError(f"it is nested deeper than {DEEPEST} levels")
    return document


def _decode_legal(text: bytes) -> PayloadDocument:
    """As `_decode_call`, with a question mark for half of a surrogate pair.

    A text has one that was cut inside an emoji: legal JSON, and refused by msgspec.
    """
    try:
        return _decode_call(text)
    except msgspec.DecodeError as error:
        try:
            mended = encode(decode(text)) if _HALF.search(text) else b""
        except ValueError:
            mended = b""
        if not mended:
            raise error from None
    return _decode_call(mended)


def _decode_call(text: bytes) -> PayloadDocument:
    """Return the object, or the one that is all of a list."""
    try:
        return _decode_object(text)
    except msgspec.ValidationError:
        pass
    try:
        elements = _decode_list(text)
    except msgspec.ValidationError:
        elements = []
    if len(elements) > 1:
        raise UnreadableError(f"it is a list of {len(elements)}: one call is read of a request")
    try:
        return _decode_object(elements[0])
    except (IndexError, msgspec.ValidationError):
        raise UnreadableError("it is JSON, but not an object with names") from None


def _count_brackets(text: bytes) -> int:
    # Where there are few, taking them out is several times as fast as bytes.count.
    return 2 * len(text) - len(text.replace(b"{", b"")) - len(text.replace(b"[", b""))


def _measure_depth(text: bytes) -> int:
    depth = deepest = 0
    for match in _STRING_OR_BRACKET.finditer(text):
        token = match[0]
        if token in (b"{", b"["):
            depth += 1
            deepest = max(deepest, depth)
        elif token in (b"}", b"]"):
            depth -= 1
    return deepest


def _read_form(body: bytes) -> PayloadDocument:
    pairs = _split_multipart(body) if body.startswith(b"--") else None
    if pairs is None:
        try:
            pairs = parse_qsl(
                body.decode(),
                keep_blank_values=True,
                errors="strict",
                max_num_fields=_MOST_FIELDS,
            )
        except UnicodeDecodeError:
            raise
        except ValueError:
            raise UnreadableError(f"it has more than {_MOST_FIELDS} fields") from None
    if b"=" not in body or not pairs:
        raise UnreadableError("it is neither JSON nor a form")
    fields: dict[str, Any] = {}
    for name, value in pairs:
        _put(fields, name, _restore_plus(name, value) if " " in value else value)
    return {name: msgspec.Raw(_encode(value)) for name, value in fields.items()}


def _restore_plus(name: str, value: str) -> str:
    """Put a plus back where it can only have been one."""
    if ":" in value:
        return _BLANK_BEFORE_ZONE.sub(r"\1+", value)
    # Looked at before the pattern is: most blanks stand between words.
    if name in _IDS or not (value.startswith(" ") or "_ " in value):
        return value
    return _BLANK_BEFORE_NUMBER.sub(r"\1+", value)


def _split_multipart(body: bytes) -> list[tuple[str, str]] | None:
    """Take a `multipart/form-data` body apart, None if it is none; it begins with the boundary."""
    boundary, _, _ = body.partition(b"\r\n")
    parts = (b"\r\n" + body).split(b"\r\n" + boundary)
    if len(parts) > _MOST_FIELDS:
        raise UnreadableError(f"it has more than {_MOST_FIELDS} fields")
    pairs = []
    for part in parts:
        head, blank_line, value = part.partition(b"\r\n\r\n")
        # In a head of 1 MiB that repeats its beginning, looking for a name would take minutes.
        name = _PART_NAME.search(head[:_LONGEST_PART_HEAD])
        if name and blank_line:
            pairs.append((name[1].decode(), value.decode()))
    return pairs or None


def _put(fields: dict[str, Any], name: str, value: str | list[str]) -> None:
    """Put a field where PHP would: `a[b][c]` is nested, `a[]` one of a list."""
    head = name.partition("[")[0]
    keys = _KEY_PART.findall(name) if name.endswith("]") else []
    if not keys or not head or len(keys) >= DEEPEST:
        keys, head = [], name
    if keys and not keys[-1]:
        keys.pop()
        value = [str(value)]
    node, last = fields, head
    for key in keys:
        child = node.get(last)
        if not isinstance(child, dict):
            child = node[last] = {}
        node, last = child, key
    known = node.get(last)
    node[last] = [*known, *value] if isinstance(known, list) and isinstance(value, list) else value


class Delivery(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A payload on its way from the request to the inbox.

    The spool keeps it in this form: new fields go to the end, with a default.

    Attributes:
        source: Its name; the account is looked up when it is stored.
        receipt: 16 bytes, unlike any other's anywhere.
        received_at: UTC.
        body: As received, until it is protected; the query where that has the fields.
        event: `hook_event`, shortened; None if there is none.
        call_id: None if none can be read.
        reason: Why it cannot be read, and is rejected at once; None if it is to be processed.
    """

    source: str
    receipt: bytes
    received_at: datetime
    format: Format
    body: bytes
    event: str | None = None
    call_id: int | None = None
    reason: str | None = None

    @property
    def digest(self) -> str:
        """SHA-256 of format and body: equal payloads have equal ones."""
        return digest_of(self.format, self.body)


def digest_of(form: Format, body: bytes) -> str:
    """SHA-256 of format and body: equal payloads have equal ones."""
    return hashlib.sha256(b"%s\n%s" % (form.encode(), body)).hexdigest()


def number_receipts() -> Iterator[bytes]:
    """Yield receipts without end: a process's random part, and a count."""
    begin = os.urandom(_RANDOM_BYTES)
    for count in itertools.count():
        yield begin + count.to_bytes(_COUNTER_BYTES, "big")


def choose_format(content_type: str, body: bytes) -> Format:
    """How a POST's body is to be read; what it is says more than its label.

    What is neither is JSON that is broken, if it is labelled so: the reason then says where.
    """
    is_labelled_json = "json" in content_type.lower() and b"=" not in body
    return "json" if looks_like_json(body) or is_labelled_json else "form"


def read_event(document: PayloadDocument, fields: Mapping[str, str]) -> str | None:
    """Return the event's name, in a form that every store takes."""
    value = read_value(document, fields.get("hook_event", "hook_event"))
    if not isinstance(value, str):
        return None
    return value.replace("\0", "")[:_LONGEST_EVENT]


def read_delivery(
    content_type: str,
    query: bytes,
    body: bytes,
    fields: Mapping[str, str],
    *,
    source: str,
    receipt: bytes,
    received_at: datetime,
) -> Delivery:
    """Read what a request brought.

    The query stands in for a body without fields. A body with fields that does not say which call
    they are of is completed by a query that does: then it is the JSON of all of it.

    Args:
        content_type: As the header has it; empty if there is none.
        query: The URL's, as received.
        body: Of a GET only where it has no query.
        fields: By path in a raw call, the name under which this account sends the value.
        source: Its name.
        receipt: This request's.
        received_at: UTC.
    """
    form: Format
    if query and is_hollow(body):
        form, body = "query", query
    else:
        form = choose_format(content_type, body)
    try:
        document = read_document(form, body)
    except UnreadableError as error:
        return Delivery(source, receipt, received_at, form, body, reason=str(error))
    call_id = _read_id(document, fields)
    if call_id is None and query and form != "query":
        more = _read_query(query)
        if _read_id(more, fields) is not None:
            document = {**more, **document, **_keep_id(more, fields)}
            form, body = "json", _encode(document)
            call_id = _read_id(document, fields)
    event = read_event(document, fields)
    return Delivery(source, receipt, received_at, form, body, event, call_id)


def _read_id(document: PayloadDocument, fields: Mapping[str, str]) -> int | None:
    return read_call_id(read_value(document, fields.get("id", "id")))


def _keep_id(document: PayloadDocument, fields: Mapping[str, str]) -> PayloadDocument:
    name = fields.get("id", "id").partition(".")[0]
    return {name: document[name]} if name in document else {}


def _read_query(query: bytes) -> PayloadDocument:
    try:
        return read_document("query", query)
    except UnreadableError:
        return {}
