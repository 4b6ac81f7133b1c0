"""The receiver's HTTP face: `/webhooks/{source}/{token}`, `/health` and `/metrics`.

A webhook's request goes past Starlette: its routing, requests and responses cost as much again as
all that is done here. An unknown source, a source without token and a wrong token get one answer.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Final

import psycopg
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from callkeeper_assets.database import DatabaseError, database_url
from callkeeper_assets.webhooks.access_log import AccessLog
from callkeeper_assets.webhooks.delivery import Delivery, number_receipts
from callkeeper_assets.webhooks.gate import Gate
from callkeeper_assets.webhooks.inbox_queries import list_waiting
from callkeeper_assets.webhooks.intake import Intake, NowhereError
from callkeeper_assets.webhooks.metrics import Metrics
from callkeeper_assets.webhooks.payload import Payload, read_payload

LARGEST_BODY: Final = 1024 * 1024
_PREFIX: Final = "/webhooks/"
_TEXTS: Final = {
    200: "",
    400: "Kept, but not readable: send JSON in UTF-8, or a form.\n",
    404: "Not found.\n",
    405: "Send POST or GET.\n",
    413: "At most 1 MiB.\n",
    503: "It cannot be kept now. Send it again later.\n",
}
_METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class TooLargeError(Exception):
    """A body over the limit; what there is of it is not read."""


class GoneError(Exception):
    """The sender went away before its body had come."""


def _build_answer(status: int) -> tuple[Message, Message]:
    body = _TEXTS[status].encode()
    headers = [(b"content-length", str(len(body)).encode())]
    if body:
        headers.append((b"content-type", b"text/plain; charset=utf-8"))
    if status == 405:  # noqa: PLR2004 -- HTTP's own number
        headers.append((b"allow", b"GET, POST"))
    start: Message = {"type": "http.response.start", "status": status, "headers": headers}
    return start, {"type": "http.response.body", "body": body}


_ANSWERS: Final = {status: _build_answer(status) for status in _TEXTS}


def _find_header(scope: Scope, wanted: bytes) -> str:
    for name, value in scope["headers"]:
        if name == wanted:
            return str(value.decode("latin-1"))
    return ""


async def _read_body(scope: Scope, receive: Receive) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise GoneError
        part: bytes = message["body"]
        size += len(part)
        if size > LARGEST_BODY:
            raise TooLargeError
        if not message["more_body"]:
            return b"".join((*parts, part)) if parts else part
        if not parts:
            # More is to come: what is announced can be refused before it does.
            length = _find_header(scope, b"content-length")
            if length.isdecimal() and int(length) > LARGEST_BODY:
                raise TooLargeError
        parts.append(part)


class Receiver:
    """The ASGI application."""

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
        """Answer one request."""
        if scope["type"] == "http" and scope["path"].startswith(_PREFIX):
            await self._take(scope, receive, send)
        else:
            await self._other(scope, receive, send)

    def note(self, source: str, status: int, size: int, seconds: float) -> None:
        """Count and log a request; `source` is empty if it was not let in."""
        self._metrics.requests[source, status] += 1
        self._metrics.seconds.observe(seconds)
        self._log.write(source, status, size, seconds)

    async def _take(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        name, _, token = scope["path"].removeprefix(_PREFIX).partition("/")
        source, size = "", 0
        if scope["method"] not in {"GET", "POST"}:
            status = 405
        elif (webhook := self._gate.admit(name, token)) is None:
            status = 404
        else:
            source = name
            try:
                body = await _read_body(scope, receive)
                payload = read_payload(
                    _find_header(scope, b"content-type"),
                    scope["query_string"],
                    body if scope["method"] == "POST" else b"",
                    webhook.fields,
                )
                size = len(payload.body)
                status = await self._keep(name, self._gate.protect(name, payload))
            except TooLargeError:
                status = 413
            except GoneError:
                return
        start, end = _ANSWERS[status]
        await send(start)
        await send(end)
        self.note(source, status, size, time.perf_counter() - started)

    async def _keep(self, source: str, payload: Payload) -> int:
        delivery = Delivery(
            source,
            next(self._receipts),
            datetime.now(UTC),
            payload.format,
            payload.body,
            payload.event,
            payload.call_id,
            payload.reason,
        )
        try:
            await self._intake.keep(delivery)
        except NowhereError:
            return 503
        return 200 if payload.reason is None else 400

    @asynccontextmanager
    async def _live(self, _app: Starlette) -> AsyncIterator[None]:
        self._intake.start()
        try:
            yield
        finally:
            await self._intake.stop()
            self._log.flush()

    async def _answer_unknown(self, _request: Request, _error: Exception) -> Response:
        return Response(_TEXTS[404], 404, media_type="text/plain")

    async def _health(self, _request: Request) -> Response:
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

    async def _show_metrics(self, _request: Request) -> Response:
        metrics = self._metrics
        metrics.spooled = self._intake.spooled
        metrics.is_database_reachable = self._intake.inbox.is_connected
        metrics.waiting = await asyncio.to_thread(self._count_waiting)
        return Response(metrics.render(), media_type=_METRICS_TYPE)

    def _count_waiting(self) -> list[tuple[str, int, datetime]]:
        """Count by a connection of its own: with a great backlog it takes its time."""
        if not self._intake.inbox.is_connected:
            return []
        try:
            waiting = list_waiting(database_url())
        except (DatabaseError, psycopg.Error):
            return []
        return [(one.source, one.payloads, one.oldest) for one in waiting]
