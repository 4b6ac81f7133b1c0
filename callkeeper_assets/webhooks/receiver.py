"""What the receiver does with a request: it is let in, read, kept, answered and noted.

Whether a URL's token is right takes the same time to find, whatever the token. The access log has
a line a request, without URL, token or anything of the body.
"""

import asyncio
import contextlib
import hmac
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, TextIO

import psycopg
from starlette.applications import Starlette
from starlette.requests import Request as AsgiRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from callkeeper_assets.config.errors import MissingSecretError
from callkeeper_assets.config.source import Source
from callkeeper_assets.postgres import DatabaseError, database_url
from callkeeper_assets.privacy.redaction import register_secret
from callkeeper_assets.privacy.rewriting import Protector
from callkeeper_assets.privacy.rule import Rule
from callkeeper_assets.webhooks.inbox import protect_delivery
from callkeeper_assets.webhooks.inbox_queries import (
    HintedDay,
    WaitingPayloads,
    list_hinted_days,
    list_waiting,
)
from callkeeper_assets.webhooks.intake import Intake, Metrics
from callkeeper_assets.webhooks.payload import Delivery, number_receipts, read_delivery

_PAUSE_SEC: Final = 0.25

_logger = logging.getLogger(__name__)

# Stands for the token of a source that does not exist.
_NOBODYS: Final = os.urandom(32)

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


class AccessLog:
    """Writes to standard error, or to a stream given."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._lines: list[str] = []
        self._is_due = False
        self._shown_ms = 0
        self._shown = ""

    def write(self, source: str, status: int, size: int, seconds: float) -> None:
        """Note a request; `source` is empty if it was not let in."""
        now_ms = int(1000 * time.time())
        if now_ms != self._shown_ms:
            # Most of a line's cost, and the same for all that are answered together.
            self._shown_ms = now_ms
            second, part_ms = divmod(now_ms, 1000)
            shown = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._shown = f"{shown}.{part_ms:03d}Z"
        self._lines.append(
            f"{self._shown} {source or '-'} {status} {size} B {1000 * seconds:.1f} ms\n"
        )
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_later(_PAUSE_SEC, self.flush)

    def flush(self) -> None:
        """Write what was noted."""
        self._is_due = False
        lines, self._lines = self._lines, []
        # A log on a full disk is no reason to take no more webhooks.
        with contextlib.suppress(OSError):
            self._stream.write("".join(lines))
            self._stream.flush()


@dataclass(frozen=True)
class Sender:
    """A source that may send webhooks.

    Attributes:
        fields: By path in a raw call, the name under which its account sends the value.
    """

    name: str
    token: bytes
    fields: Mapping[str, str]
    protector: Protector

    def protect(self, delivery: Delivery) -> Delivery:
        """Return a payload of its as it may be written."""
        return protect_delivery(delivery, self.protector, self.fields)


class Gate:
    """The sources that take webhooks and have their secrets set; others are like unknown ones."""

    def __init__(self, sources: Iterable[Source]) -> None:
        self._senders: dict[bytes, Sender] = {}
        for source in sources:
            if source.webhook is None:
                continue
            try:
                token = source.read_webhook_token()
                rule = source.read_privacy_rule()
            except MissingSecretError as error:
                _logger.warning("%s Until then its webhooks are answered with 404.", error)
                continue
            register_secret(token)
            register_secret(rule.key.decode())
            fields = source.webhook.fields
            self._senders[source.name.encode()] = Sender(
                source.name, token.encode(), fields, Protector(rule, fields)
            )

    @property
    def rules(self) -> dict[str, Rule]:
        """By source, what becomes of personal data."""
        return {sender.name: sender.protector.rule for sender in self._senders.values()}

    @property
    def renamed(self) -> dict[str, Mapping[str, str]]:
        """By source, the names under which its account sends fields."""
        return {sender.name: sender.fields for sender in self._senders.values()}

    def admit(self, name: bytes, token: bytes) -> Sender | None:
        """Return who may send by this; None for an unknown source and for a wrong token alike."""
        sender = self._senders.get(name)
        # Takes as long as the second of them is, whatever the first.
        is_right = hmac.compare_digest(_NOBODYS if sender is None else sender.token, token)
        return sender if is_right else None


@dataclass(slots=True)
class WebhookRequest:
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


AnswerWebhook = Callable[[WebhookRequest, int], None]


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

    def admit(self, request: WebhookRequest, path: bytes) -> None:
        """Let a request in by `source/token`, or set the status that it gets."""
        name, _, token = path.partition(b"/")
        if request.method not in METHODS:
            request.status = 405
        else:
            request.sender = self._gate.admit(name, token)
            request.status = 404 if request.sender is None else 0

    def take(self, request: WebhookRequest, answer: AnswerWebhook) -> None:
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

    def note(self, request: WebhookRequest, status: int) -> None:
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
        waiting: list[WaitingPayloads] = []
        hinted: list[HintedDay] = []
        if self._intake.inbox.is_connected:
            with contextlib.suppress(DatabaseError, psycopg.Error):
                url = database_url()
                waiting, hinted = list_waiting(url), list_hinted_days(url)
        self._metrics.set_waiting(
            [(one.source, one.payloads, one.oldest) for one in waiting],
            Counter(one.source for one in hinted),
        )
