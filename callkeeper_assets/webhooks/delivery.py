"""One payload on its way to the inbox: what was received, by whom, and the number of its coming.

The receipt makes storing it harmless to repeat: a delivery whose commit nobody heard of, or that is
drained from the spool twice, is the same one and not the sender's second.
"""

import hashlib
import itertools
import os
from collections.abc import Iterator
from datetime import datetime
from typing import Final

import msgspec

from callkeeper_assets.webhooks.document import Format

_RANDOM_BYTES: Final = 10
_COUNTER_BYTES: Final = 6


class Delivery(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A payload as the spool keeps it; new fields go to the end, with a default.

    Attributes:
        source: Its name; the account is looked up when it is stored.
        receipt: 16 bytes, unlike any other's anywhere.
        received_at: UTC.
        body: As received; the query where that has the fields.
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
