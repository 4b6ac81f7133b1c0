"""What the receiver does with a request: a webhook is let in, read and kept, and noted.

`webhook_protocol` brings the webhooks; `/health` and `/metrics` are Starlette's. An unknown source,
a source without token and a wrong token get one answer.
"""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import psycopg
from starlette.applications import Starlette
from starlette.requests import Request as AsgiRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from callkeeper_assets.database import DatabaseError, database_url
from callkeeper_assets.webhooks.access_log import AccessLog
from callkeeper_assets.webhooks.delivery import number_receipts
from callkeeper_assets.webhooks.gate import Gate, Sender
from callkeeper_assets.webhooks.inbox_queries import (
    HintedDay,
    Waiting,
    list_hinted_days,
    list_waiting,
)
from callkeeper_assets.webhooks.intake import Intake
from callkeeper_assets.webhooks.metrics import Metrics
from callkeeper_assets.webhooks.payload import read_delivery

# By status; the numbers are HTTP's own.
TEXTS: Final = {
    200: "",
    400: "Kept, but not readable: send JSON in UTF-8, or a form.\n",
    404: "Not found.\n",
    405: "Send POST, GET, PUT or DELETE.\n",
    413: "At most 1 MiB.\n",
    503: "It cannot be kept now. Send it again later.\n",
}
# The two that nearly all send stand first.
METHODS: Final = (b"POST", b"GET", b"PUT", b"DELETE")
_METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


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


Answer = Callable[[Request, int], None]


class Receiver:
    """The receiver's work, and the ASGI application of all but webhooks."""

    def __init__(self, gate: Gate, intake: Intake, metrics: Metrics, log: AccessLog) -> None:
        self._gate = gate
        self._intake = intake
        self._metrics = metrics
        self._log = log
        self._receipts = number_receipts()
        self._other = Starlette(
            routes=[Route("/health", self._health), Route("/metrics", self._show_metrics)],
            exception_handlers={404: self._answer_unknown},
            lifespan=self._live,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what is no webhook."""
        await self._other(scope, receive, send)

    def admit(self, request: Request, path: bytes) -> None:
        """Let a request in by `source/token`, or set the status that it gets."""
        name, _, token = path.partition(b"/")
        if request.method not in METHODS:
            request.status = 405
        else:
            request.sender = self._gate.admit(name, token)
            request.status = 404 if request.sender is None else 0

    def take(self, request: Request, answer: Answer) -> None:
        """Keep a request that is whole; it is answered when it is on disk, or now."""
        sender = request.sender
        if sender is None:
            answer(request, request.status)
            return
        delivery = read_delivery(
            request.find_header(b"content-type"),
            request.query,
            # A GET's call is in its query; who sends it a body alone means that.
            b"" if request.method == b"GET" and request.query else b"".join(request.parts),
            sender.fields,
            source=sender.name,
            receipt=next(self._receipts),
            received_at=datetime.now(UTC),
        )
        request.size = len(delivery.body)
        status = 200 if delivery.reason is None else 400
        self._intake.keep(
            sender.protect(delivery),
            lambda is_kept: answer(request, status if is_kept else 503),
        )

    def note(self, request: Request, status: int) -> None:
        """Count and log a request that is answered."""
        seconds = time.perf_counter() - request.started
        name, size = "", 0
        if request.sender is not None:
            name, size = request.sender.name, request.size
        self._metrics.count_request(name, status, seconds)
        self._log.write(name, status, size, seconds)

    @asynccontextmanager
    async def _live(self, _app: Starlette) -> AsyncIterator[None]:
        self._intake.start()
        try:
            yield
        finally:
            await self._intake.stop()
            self._log.flush()

    async def _answer_unknown(self, _request: AsgiRequest, _error: Exception) -> Response:
        return Response(TEXTS[404], 404, media_type="text/plain")

    async def _health(self, _request: AsgiRequest) -> Response:
        problem = await self._intake.find_disk_problem()
        is_connected = self._intake.inbox.is_connected
        is_well = is_connected or problem is None
        content = {
            "status": "ok" if is_well else "failing",
            "database": "reachable" if is_connected else "away",
            "spool": "writable" if problem is None else problem,
            "spooled": self._intake.spooled,
        }
        return JSONResponse(content, 200 if is_well else 503)

    async def _show_metrics(self, _request: AsgiRequest) -> Response:
        metrics = self._metrics
        metrics.spooled.set(self._intake.spooled)
        metrics.is_database_reachable.set(self._intake.inbox.is_connected)
        await asyncio.to_thread(self._count_waiting)
        return Response(metrics.render(), media_type=_METRICS_TYPE)

    def _count_waiting(self) -> None:
        """Count by a connection of its own: with a great backlog it takes its time."""
        waiting: list[Waiting] = []
        hinted: list[HintedDay] = []
        if self._intake.inbox.is_connected:
            with contextlib.suppress(DatabaseError, psycopg.Error):
                url = database_url()
                waiting, hinted = list_waiting(url), list_hinted_days(url)
        self._metrics.set_waiting(
            [(one.source, one.payloads, one.oldest) for one in waiting],
            Counter(one.source for one in hinted),
        )
