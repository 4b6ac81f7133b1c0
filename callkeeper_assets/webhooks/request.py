"""A webhook's request on its way through the receiver, from its head to its answer."""

import time
from dataclasses import dataclass, field

from callkeeper_assets.webhooks.gate import Sender


@dataclass(slots=True)
class Request:
    """One request; all but the head comes later.

    Attributes:
        headers: Names in small letters.
        parts: Of the body.
        size: Bytes of the body so far; at last of what is kept.
        sender: None while it is not let in.
        status: With which it is answered whatever its body; 0 if it is let in.
    """

    method: bytes = b""
    query: bytes = b""
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    parts: list[bytes] = field(default_factory=list)
    size: int = 0
    sender: Sender | None = None
    status: int = 0
    started: float = field(default_factory=time.perf_counter)

    def find_header(self, wanted: bytes) -> str:
        """Return the first header of a name, empty if there is none."""
        for name, value in self.headers:
            if name == wanted:
                return value.decode("latin-1")
        return ""
