"""Runs the receiver as this process, until it is told to stop.

uvicorn with what its defaults leave open closed: no access log of its own (it would have the
tokens), no name of itself, no WebSockets, bounded connections. Its HTTP protocol gets bounds that
it lacks, on heads, on time, on connections, and answers webhooks without ASGI; what is overridden
of uvicorn is held by a contract test.
"""

import asyncio
import gc
import logging
import math
import re
import socket
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, cast
from urllib.parse import unquote_to_bytes

import uvicorn
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from callkeeper_assets.config.source import Source
from callkeeper_assets.home import home, keep_memory
from callkeeper_assets.privacy.redaction import RedactingFilter
from callkeeper_assets.supervision import find_watchdog_pause, notify
from callkeeper_assets.webhooks.inbox import Inbox
from callkeeper_assets.webhooks.intake import Intake, Metrics
from callkeeper_assets.webhooks.receiver import (
    METHODS,
    TEXTS,
    AccessLog,
    Gate,
    Receiver,
    WebhookRequest,
)
from callkeeper_assets.webhooks.spool import Spool

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
_LARGEST_BODY: Final = 1024 * 1024
_PREFIX: Final = b"/webhooks/"
# Host and path are typed apart in CallKeeper's cabinet: slashes come doubled, and at the end.
_SLASHES: Final = re.compile(rb"/{2,}")
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"

_OBJECTS_BEFORE_GC: Final = 100_000
_KEPT_BYTES: Final = 1 << 26
_FETCHED_BYTES: Final = 1 << 22
# Supervisors kill after 8 to 10 s.
_FAREWELL_SEC: Final = 6

_logger = logging.getLogger(__name__)


def _build_rest(status: int) -> bytes:
    body = TEXTS[status].encode()
    lines = [b"content-length: %d\r\n" % len(body)]
    if body:
        lines.append(b"content-type: text/plain; charset=utf-8\r\n")
    if status == 405:  # noqa: PLR2004 -- HTTP's own number
        lines.append(b"allow: %s\r\n" % b", ".join(sorted(METHODS)))
    return b"".join([*lines, b"\r\n", body])


# What follows the status and the date.
_RESTS: Final = {status: _build_rest(status) for status in TEXTS}
_HEADS: Final = {
    status: rest.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" for status, rest in _RESTS.items()
}
_NO_BODY: Final = b"content-length: 0\r\n\r\n"


class WebhookProtocol(HttpToolsProtocol):
    """One connection: bounds of all requests, and webhooks without ASGI."""

    def __init__(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401 -- uvicorn's own
        super().__init__(*arguments, **named)
        self._receiver = cast("Receiver", self.config.loaded_app)
        # When the other side must have done what is expected of it; never while we have to act.
        self._deadline = math.inf
        self._head_size = 0
        self._has_begun = False
        # Between an answer and the next request; else None.
        self.idle_until: float | None = None
        # What comes is thrown away.
        self._is_deaf = False
        self._is_refused = False
        # A webhook from its head on, until it is answered.
        self._request: WebhookRequest | None = None
        self._is_whole = False
        self._is_taken = False
        # Whether the connection ends with the answer.
        self._ends = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, unless there are too many."""
        super().connection_made(transport)
        self._deadline = self.loop.time() + _HEAD_SEC
        if len(self.connections) > _MOST_CONNECTIONS and not self._make_room():
            transport.close()

    def _make_room(self) -> bool:
        """Close the connection that has been idle for longest; return whether there is one.

        A connection that still sends its webhook is not closed for those that have sent theirs.
        """
        idle = [
            one
            for one in self.connections
            if isinstance(one, WebhookProtocol)
            and one.idle_until
            and not one.transport.is_closing()
        ]
        if idle:
            min(idle, key=lambda one: one.idle_until or math.inf).transport.close()
        return bool(idle)

    def data_received(self, data: bytes) -> None:
        """Take bytes in; a webhook that is whole by then is handed over.

        The first bytes of a request start its time.
        """
        if not self._is_deaf:
            if self.idle_until or self._deadline == math.inf:
                self.idle_until = None
                self._deadline = self.loop.time() + _HEAD_SEC
            super().data_received(data)
        # Not within the parser, which takes an error of ours for one of the sender.
        if self._is_whole and not self._is_taken:
            self._is_taken = True
            self._receiver.take(cast("WebhookRequest", self._request), self._answer)

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

    def _grow_head(self, size: int) -> None:
        self._head_size += size
        if self._head_size > _LARGEST_HEAD:
            raise ValueError("too large a head")

    def on_headers_complete(self) -> None:
        """Begin a webhook, leave anything else to ASGI; its body has a time of its own."""
        cycle = self._find_cycle()
        if cycle is not None and not cycle.response_complete:
            self._is_deaf = True
            cycle.keep_alive = False
        if self._request is not None or self._is_deaf:
            raise ValueError("sent before the one ahead is answered")
        is_webhook = self.url.startswith(_PREFIX) or self._straighten()
        if not is_webhook:
            super().on_headers_complete()
        self._deadline = self.loop.time() + _BODY_SEC
        if is_webhook:
            self._begin()

    def _straighten(self) -> bool:
        """Take superfluous slashes out of the path; return whether it is a webhook's then."""
        path, mark, query = self.url.partition(b"?")
        path = _SLASHES.sub(b"/", path)
        if not path.startswith(_PREFIX):
            return False
        self.url = path + mark + query
        return True

    def _begin(self) -> None:
        path, _, query = self.url.partition(b"?")
        if b"//" in path or path.endswith(b"/"):
            path = _SLASHES.sub(b"/", path).rstrip(b"/")
        if b"%" in path:
            path = unquote_to_bytes(path)
        method = self.parser.get_method()
        self._request = request = WebhookRequest(method, query, self.headers)
        self._ends = not self.parser.should_keep_alive()
        self._receiver.admit(request, path.removeprefix(_PREFIX))
        if request.status:
            return
        length = request.find_header(b"content-length")
        if length.isdecimal() and int(length) > _LARGEST_BODY:
            self._refuse(413, _RESTS[413])
        elif self.expect_100_continue:
            self.transport.write(_CONTINUE)

    def on_body(self, body: bytes) -> None:
        """Take a part of the body; who is not let in sends his to nobody."""
        request = self._request
        if request is None:
            if not self._is_deaf:
                super().on_body(body)
        elif not request.status:
            request.size += len(body)
            request.parts.append(body)
            if request.size > _LARGEST_BODY:
                self._refuse(413, _RESTS[413])

    def on_message_complete(self) -> None:
        """The request is whole: the next step is ours."""
        self._is_whole = self._request is not None
        if not self._is_whole:
            if self._is_deaf:
                return
            super().on_message_complete()
        self._has_begun = False
        self._deadline = math.inf

    def on_response_complete(self) -> None:
        """The application has answered: uvicorn's own clock counts to the next request."""
        super().on_response_complete()
        if not self._has_begun:
            self.idle_until = self.loop.time() + KEEP_ALIVE_SEC

    def _answer(self, request: WebhookRequest, status: int) -> None:
        """Answer the webhook, and let the next one come."""
        self._request = None
        self._is_whole = self._is_taken = False
        self.server_state.total_requests += 1
        self._receiver.note(request, status)
        if self.transport.is_closing():
            return
        parts = [STATUS_LINE[status]]
        for name, value in self.server_state.default_headers:
            parts += (name, b": ", value, b"\r\n")
        if self._ends:
            parts.append(b"connection: close\r\n")
        # The answer to a HEAD, which is 405, is a head.
        parts.append(_RESTS[status] if request.method != b"HEAD" else _HEADS[status])
        self.transport.write(b"".join(parts))
        if self._ends:
            self.transport.close()
        elif not self._has_begun:
            self._deadline = self.idle_until = self.loop.time() + KEEP_ALIVE_SEC

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 -- uvicorn's
        """Answer what is no HTTP, or has too large a head.

        After a webhook that is whole, the connection ends with the answer to that.
        """
        if self._is_whole:
            self._is_deaf = self._ends = True
        elif not self._is_deaf:
            self._refuse(431 if self._head_size > _LARGEST_HEAD else 400)

    def expire(self, now: float) -> None:
        """End the connection if its time is over; never while we have to act."""
        if self._is_whole or now < self._deadline or self.transport.is_closing():
            return
        cycle = self._find_cycle()
        # Answered before its body, which still does not end.
        is_answered = cycle is not None and cycle.response_started and cycle.more_body
        status = self._request.status if self._request else 0
        if self._is_refused or not self._has_begun or is_answered:
            self.transport.abort()
        elif status:
            # What is not sent would have changed nothing.
            self._refuse(status, _RESTS[status])
        else:
            self._refuse(408)

    def shutdown(self) -> None:
        """End: at once, or after the answer to what has begun."""
        if self._request is not None:
            self._ends = True
        else:
            super().shutdown()

    def _find_cycle(self) -> RequestResponseCycle | None:
        """The newest request whose head is whole; uvicorn declares that there always is one."""
        return self.cycle

    def _refuse(self, status: int, rest: bytes = _NO_BODY) -> None:
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
        self._receiver.note(self._request or WebhookRequest(), status)
        self._request = None


async def sweep(find_connections: Callable[[], Iterable[Any]]) -> None:
    """End connections whose time is over, every second, until it is cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(_SWEEP_SEC)
        now = loop.time()
        for connection in list(find_connections()):
            connection.expire(now)


async def _show_life() -> None:
    """Tell the supervisor, if it wants to know, that requests are answered still."""
    while pause := find_watchdog_pause():
        notify("WATCHDOG=1")
        await asyncio.sleep(pause)


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        # What is there now stays, and what waits for a commit is no garbage either: looking through
        # both again and again was a seventh of a request's cost.
        gc.freeze()
        gc.set_threshold(_OBJECTS_BEFORE_GC)
        # Held here: the loop itself would let go of it.
        self._sweeper = asyncio.create_task(sweep(lambda: self.server_state.connections))
        notify("READY=1")
        self._watched = asyncio.create_task(_show_life())
        _logger.info(
            "The webhook receiver listens at http://%s:%d", self.config.host, self.config.port
        )


def _configure_logging() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    handler.addFilter(RedactingFilter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("callkeeper_assets").setLevel(logging.INFO)
    # It warns of each request that is no HTTP; the access log has them.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)


def run_receiver(host: str, port: int, sources: Sequence[Source]) -> None:
    """Receive the webhooks of these sources until SIGINT or SIGTERM; then end in order.

    Raises:
        KeyboardInterrupt: It was told to stop, and has; the signal is passed on.
    """
    keep_memory(_KEPT_BYTES, _FETCHED_BYTES)
    _configure_logging()
    metrics = Metrics()
    gate = Gate(sources)
    spool = home() / "spool"
    intake = Intake(Inbox(gate.renamed, gate.rules, spool), Spool(spool), metrics)
    receiver = Receiver(gate, intake, metrics, AccessLog())
    config = uvicorn.Config(
        receiver,
        host,
        port,
        loop="uvloop",
        http=WebhookProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SEC,
        timeout_graceful_shutdown=_FAREWELL_SEC,
    )
    _Server(config).run()
