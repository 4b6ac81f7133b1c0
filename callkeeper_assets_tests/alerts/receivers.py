"""Receivers of alerts: a real HTTP server that can be away, refuse, or take its time; real e-mail.

Each remembers what reached it, and in which order.
"""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session


@dataclass
class Post:
    """What was posted: the key of its header, and its JSON."""

    key: str
    document: dict[str, Any]


@dataclass
class HttpReceiver:
    """Takes JSON by POST at any path, and counts GETs.

    Attributes:
        status: With which it answers; 0: it closes the connection.
        gate: Answers are given once it is set.
    """

    port: int
    status: int = 200
    posts: list[Post] = field(default_factory=list)
    pings: int = 0
    gate: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        """Of what takes JSON, with a token in it."""
        return f"http://127.0.0.1:{self.port}/hook/s3cret-token-of-the-hook"

    @property
    def ping_url(self) -> str:
        """Of what is asked for while all is well."""
        return f"http://127.0.0.1:{self.port}/ping/abcdef"

    @property
    def apprise_url(self) -> str:
        """The same receiver, as Apprise posts to it."""
        return f"json://127.0.0.1:{self.port}/apprise/"

    def list_told(self) -> list[tuple[str, str, str]]:
        """Return state, kind and subject of each alert that came, in order."""
        return [
            (one["state"], one["kind"], one["subject"])
            for post in self.posts
            for one in post.document.get("alerts", ())
        ]


def _build_handler(receiver: HttpReceiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if receiver.status in range(200, 300):
                receiver.posts.append(
                    Post(self.headers.get("Idempotency-Key", ""), json.loads(body))
                )
            receiver.gate.wait(60)
            try:
                self._answer()
            except OSError:
                # Who sent it was killed meanwhile.
                self.close_connection = True

        def do_GET(self) -> None:
            receiver.pings += 1
            self._answer()

        def _answer(self) -> None:
            if not receiver.status:
                self.close_connection = True
                return
            self.send_response(receiver.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- its name
            pass

    return Handler


def find_port() -> int:
    """Return a port at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def run_receiver(port: int = 0) -> Iterator[HttpReceiver]:
    """Run a receiver, at a port of its own or at one where it was before."""
    receiver = HttpReceiver(port or find_port())
    receiver.gate.set()
    server = ThreadingHTTPServer(("127.0.0.1", receiver.port), _build_handler(receiver))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield receiver
    finally:
        receiver.gate.set()
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class Mail:
    """One e-mail as it arrived."""

    to: list[str]
    subject: str
    text: str


class _Box:
    def __init__(self) -> None:
        self.mails: list[Mail] = []

    async def handle_DATA(  # noqa: N802 -- aiosmtpd's name
        self,
        server: SMTP,  # noqa: ARG002
        session: Session,  # noqa: ARG002
        envelope: Envelope,
    ) -> str:
        content = envelope.content
        assert isinstance(content, bytes)
        message = message_from_bytes(content, policy=policy.default)
        body = message.get_body(("plain", "html"))
        assert body is not None
        self.mails.append(
            Mail(list(envelope.rcpt_tos), str(message["subject"]), str(body.get_content()))
        )
        return "250 OK"


@contextmanager
def run_mail_server() -> Iterator[tuple[str, list[Mail]]]:
    """Run an SMTP server; yield the address of a mailbox of it for Apprise, and what is in it."""
    port = find_port()
    box = _Box()
    controller = Controller(box, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        url = f"mailto://127.0.0.1:{port}?from=callkeeper@example.com&to=duty@example.com"
        yield url, box.mails
    finally:
        controller.stop()
