"""uvicorn's HTTP protocol with bounds that it lacks: on heads, on time, on connections.

Nobody holds a connection by sending slowly or not at all, and no head grows without end. Who is
refused gets an answer, and what he still sends is thrown away, so that he can read it.
"""

import asyncio
import math
from collections.abc import Callable, Iterable
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

# A proxy in front that reuses connections, for 60 to 90 s as a rule, has to give them up first:
# else it sends a webhook into one that was closed meanwhile.
KEEP_ALIVE_SEC: Final = 120
_HEAD_SEC: Final = 10.0
_BODY_SEC: Final = 20.0
_LINGER_SEC: Final = 2.0
_LARGEST_HEAD: Final = 32 * 1024
_HEADER_PRICE: Final = 300
# Below the usual limit of 1,024 open files.
_MOST_CONNECTIONS: Final = 800
_SWEEP_SEC: Final = 1.0


class BoundedProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401 -- uvicorn's own
        super().__init__(*arguments, **named)
        # When the other side must have done what is expected of it; never while it is our turn.
        self._deadline = math.inf
        self._head_size = 0
        self._has_begun = False
        # Between an answer and the next request; else None.
        self.idle_until: float | None = None
        # What comes is thrown away.
        self._is_deaf = False
        self._is_refused = False

    def note_refused(self, status: int) -> None:
        """Note that a request is refused before any application has all of it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, unless there are too many."""
        super().connection_made(transport)
        self._deadline = self.loop.time() + _HEAD_SEC
        if len(self.connections) > _MOST_CONNECTIONS and not self._make_room():
            transport.close()

    def _make_room(self) -> bool:
        """Close the connection that has been idle for longest; return whether there is one.

        Whoever is here to send a webhook is not turned away for those who have sent theirs.
        """
        idle = [
            one
            for one in self.connections
            if isinstance(one, BoundedProtocol)
            and one.idle_until
            and not one.transport.is_closing()
        ]
        if idle:
            min(idle, key=lambda one: one.idle_until or math.inf).transport.close()
        return bool(idle)

    def data_received(self, data: bytes) -> None:
        """Take bytes in; the first ones of a request start its time."""
        if self._is_deaf:
            return
        if self.idle_until or self._deadline == math.inf:
            self.idle_until = None
            self._deadline = self.loop.time() + _HEAD_SEC
        super().data_received(data)

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self._has_begun = True
        self._head_size = 0

    def on_url(self, url: bytes) -> None:
        """Take a part of the URL."""
        self._grow_head(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        # A header that is all but empty has its price too.
        self._grow_head(len(name) + len(value) + _HEADER_PRICE)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Hand the request over; its body has a time of its own."""
        super().on_headers_complete()
        self._await_body()

    def on_message_complete(self) -> None:
        """The request is whole: it is our turn."""
        super().on_message_complete()
        self._end_message()

    def on_response_complete(self) -> None:
        """The application has answered: uvicorn's own clock counts to the next request."""
        super().on_response_complete()
        if not self._has_begun:
            self.idle_until = self.loop.time() + KEEP_ALIVE_SEC

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 -- uvicorn's
        """Answer what is no HTTP, or has too large a head."""
        if not self._is_deaf:
            self._refuse(431 if self._head_size > _LARGEST_HEAD else 400)

    def expire(self, now: float) -> None:
        """End the connection if its time is over."""
        if now < self._deadline or self.transport.is_closing():
            return
        cycle = self._find_cycle()
        # Answered before its body, which still does not end.
        is_answered = cycle is not None and cycle.response_started and cycle.more_body
        if self._is_refused or not self._has_begun or is_answered:
            self.transport.abort()
        else:
            self._refuse_slow()

    def _find_cycle(self) -> RequestResponseCycle | None:
        """The newest request whose head is whole; uvicorn declares that there always is one."""
        return self.cycle

    def _await_body(self) -> None:
        self._deadline = self.loop.time() + _BODY_SEC

    def _end_message(self) -> None:
        self._has_begun = False
        self._deadline = math.inf

    def _await_request(self) -> None:
        """Give the next request its time to begin."""
        if not self._has_begun:
            self._deadline = self.idle_until = self.loop.time() + KEEP_ALIVE_SEC

    def _grow_head(self, size: int) -> None:
        self._head_size += size
        if self._head_size > _LARGEST_HEAD:
            raise ValueError("too large a head")

    def _refuse_slow(self) -> None:
        self._refuse(408)

    def _refuse(self, status: int, rest: bytes = b"content-length: 0\r\n\r\n") -> None:
        """Answer and end the connection; `rest` is what follows the status and `connection`."""
        self._is_deaf = self._is_refused = True
        self._deadline = self.loop.time() + _LINGER_SEC
        cycle = self._find_cycle()
        if cycle is not None and not cycle.response_complete:
            # The application waits for a body that does not come.
            cycle.disconnected = True
            cycle.message_event.set()
        self.transport.write(STATUS_LINE[status] + b"connection: close\r\n" + rest)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.note_refused(status)


async def sweep(find_connections: Callable[[], Iterable[Any]]) -> None:
    """End connections whose time is over, every second, until it is cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(_SWEEP_SEC)
        now = loop.time()
        for connection in list(find_connections()):
            connection.expire(now)
