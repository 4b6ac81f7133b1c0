"""A real HTTP server that records what it gets and answers as a test has scripted.

It knows nothing of the simulator's sending side: what it got is read here from the bytes.
"""

import json
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Reply:
    """How one request is answered: late, with a status, or by hanging up."""

    status: int = 200
    delay_sec: float = 0.0
    hangs_up: bool = False


@dataclass(frozen=True)
class Received:
    """One request; `connection` is the client's port."""

    verb: str
    path: str
    query: str
    content_type: str
    body: bytes
    connection: int
    at: float

    @property
    def payload(self) -> bytes:
        """What the sender wanted to say: the body, or else the query."""
        return self.body or self.query.encode()

    @property
    def json(self) -> dict[str, Any]:
        """The body, as JSON."""
        value: dict[str, Any] = json.loads(self.body)
        return value

    @property
    def pairs(self) -> dict[str, str]:
        """The form or query."""
        return dict(parse_qsl(self.payload.decode(), keep_blank_values=True))


class Receiver(ThreadingHTTPServer):
    """Everything that came, in order of arrival; `replies` are used up, then all is well."""

    request_queue_size = 128
    daemon_threads = False

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.replies: deque[Reply] = deque()
        self.lock = threading.Lock()
        self.most_at_once = self.at_once = 0
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        """Where a source would send to; its last part is the secret."""
        return f"http://127.0.0.1:{self.server_address[1]}/webhooks/main/s3cret-t0ken"

    def note(self, received: Received) -> Reply:
        """Record a request; how to answer it."""
        with self.lock:
            self.received.append(received)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            return self.replies.popleft() if self.replies else Reply()

    def connect(self, connection: socket.socket) -> None:
        """Note a connection."""
        self._open.add(connection)

    def hang_up(self) -> None:
        """Close every connection, as a server does with idle ones."""
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is none of ours."""


class _Handler(BaseHTTPRequestHandler):
    server: Receiver
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.server.connect(self.connection)

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def log_message(self, *_: object) -> None:
        """Silence."""

    def _answer(self) -> None:
        target = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        content_type = self.headers.get("Content-Type") or ""
        port, at = self.client_address[1], time.monotonic()
        received = Received(self.command, target.path, target.query, content_type, body, port, at)
        reply = self.server.note(received)
        time.sleep(reply.delay_sec)
        with self.server.lock:
            self.server.at_once -= 1
        if reply.hangs_up:
            self.close_connection = True
            return
        content = b"" if reply.status == HTTPStatus.NO_CONTENT else b"ok"
        self.send_response(reply.status)
        if content:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def run_receiver() -> Iterator[Receiver]:
    """A receiver on a free port, until the block ends."""
    receiver = Receiver()
    thread = threading.Thread(target=lambda: receiver.serve_forever(poll_interval=0.02))
    thread.start()
    try:
        yield receiver
    finally:
        receiver.shutdown()
        receiver.hang_up()
        receiver.server_close()
        thread.join()
