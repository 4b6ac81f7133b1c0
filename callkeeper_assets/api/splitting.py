"""An answer taken apart where msgspec gives up on the whole of it for one record.

Half of a surrogate pair, as a text has that was cut inside an emoji, is legal JSON and refused by
it; so is what is nested deeply. Slow, and for such answers alone. An answer that was cut short is
not taken for a whole one.
"""

import re
from collections.abc import Iterator
from typing import Final

import msgspec

_TOKEN: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[][{},]', re.DOTALL)
_CLOSING: Final = {b"[": b"]", b"{": b"}"}


class _CutError(ValueError):
    """Brackets that do not match, or are not closed."""


def _walk(body: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Yield each bracket, comma and text: how deep it stands, itself, and where.

    Raises:
        _CutError: They do not match.
    """
    closing: list[bytes] = []
    end = 0
    for found in _TOKEN.finditer(body):
        token, end = found[0], found.end()
        if token in _CLOSING:
            yield len(closing), token, found.start()
            closing.append(_CLOSING[token])
        elif token in b"]}":
            if not closing or closing.pop() != token:
                raise _CutError
            yield len(closing), token, found.start()
        else:
            yield len(closing), token, found.start()
    if closing or body[end:].strip():
        raise _CutError


def split_records(body: bytes, name: bytes) -> list[msgspec.Raw] | None:
    """Return the JSON text of each record; None if there is no whole list of them.

    Args:
        body: The list, or an object that has it.
        name: Of the list in such an object.
    """
    depth = 0 if body.lstrip()[:1] == b"[" else 1
    records: list[msgspec.Raw] = []
    start, last = -1, name if depth == 0 else b""
    try:
        for level, token, place in _walk(body):
            if start < 0 and level == depth:
                if token == b"[" and last == name and not records:
                    start = place + 1
                elif token.startswith(b'"'):
                    last = token[1:-1]
            elif start > 0 and (
                (level == depth + 1 and token == b",") or (level == depth and token == b"]")
            ):
                records.append(msgspec.Raw(body[start:place].strip()))
                start = place + 1 if token == b"," else -1
    except _CutError:
        return None
    return records or None
