"""The simulator's HTTP server: requests in, answers out, and the faults that happen on the wire.

Python's own threading server, not an ASGI one: a fault is a few bytes written or not written to a
socket, which a correct server refuses to do. Paths lie directly below the base URL, as CallKeeper's
do.
"""

import contextlib
import socket
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from callkeeper_assets.simulator.account import Account
from callkeeper_assets.simulator.answers import (
    CUTS,
    Answer,
    answer_method,
    check_request,
    render_failure,
)
from callkeeper_assets.simulator.control import PREFIX, answer_control
from callkeeper_assets.simulator.failures import UNKNOWN_METHOD, RequestFailedError
from callkeeper_assets.simulator.settings import AnswerSettings, Fault
from callkeeper_assets.simulator.simulator import Simulator
from callkeeper_assets.simulator.unified_answers import (
    FOLDER,
    PROGRAM,
    UnifiedFailureError,
    answer_unified,
    check_unified_request,
    find_refusal,
    read_key,
    render_unified_failure,
)

_HTML: Final = (
    "<!DOCTYPE html><html><head><title>CallKeeper</title></head>"
    "<body><h1>Ведутся технические работы</h1></body></html>"
).encode()
_HTML_TYPE: Final = "text/html; charset=utf-8"
_UNIFIED_PATHS: Final = (FOLDER, FOLDER.rstrip("/"), PROGRAM)
_FORM: Final = "application/x-www-form-urlencoded"


class SimulatorServer(ThreadingHTTPServer):
    """One listening simulator; `close` ends it with every connection, hanging ones too."""

    request_queue_size = 128

    def __init__(self, simulator: Simulator, host: str, port: int, *, is_logged: bool) -> None:
        self.simulator = simulator
        self.is_logged = is_logged
        self.closing = threading.Event()
        self._sockets: set[socket.socket] = set()
        super().__init__((host, port), _Handler)

    # Not daemon threads: `server_close` then waits for them, and nothing outlives a test.
    daemon_threads = False

    def remember(self, connection: socket.socket) -> None:
        """Note a connection that `close` has to end."""
        self._sockets.add(connection)

    def forget(self, connection: socket.socket) -> None:
        """Drop a connection that has ended."""
        self._sockets.discard(connection)

    def close(self) -> None:
        """Stop `serve_forever` and all webhooks, end all connections, wait for their threads."""
        self.closing.set()
        self.simulator.close()
        self.shutdown()
        for connection in list(self._sockets):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """Pass over clients that went away; anything else is a bug and is shown."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: SimulatorServer
    protocol_version = "HTTP/1.1"
    server_version = "nginx"
    sys_version = ""
    # Head and body are two writes: without this the second waits for a delayed acknowledgement.
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.server.remember(self.connection)

    def finish(self) -> None:
        self.server.forget(self.connection)
        super().finish()

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    def _refuse_verb(self) -> None:
        # What body there is stays unread, so the connection cannot be used again.
        self.close_connection = True
        self._send(render_failure(UNKNOWN_METHOD, self._common_answers()))

    do_PUT = do_DELETE = do_PATCH = do_HEAD = do_OPTIONS = _refuse_verb  # noqa: N815 - the base's

    def log_message(self, *_: object) -> None:
        """Nothing of the base class's log: its lines have the query, and so the key."""

    def _common_answers(self) -> AnswerSettings:
        """The shapes of failures that belong to no account: those of the first."""
        accounts = self.server.simulator.accounts
        return accounts[0].answers if accounts else AnswerSettings()

    def _answer(self, body: bytes) -> None:
        started = time.perf_counter()
        target = urlsplit(self.path)
        query = dict(parse_qsl(target.query, keep_blank_values=True))
        if target.path.startswith(PREFIX):
            action = target.path.removeprefix(PREFIX)
            answer = answer_control(self.server.simulator, self.command, action, query, body)
            self._send(answer)
            return
        if body and self.headers.get_content_type() == _FORM:
            query.update(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
        if target.path in _UNIFIED_PATHS:
            outcome = self._answer_unified(target.path, target.query)
        else:
            outcome = self._answer_statistics(target.path.removeprefix("/"), query)
        if self.server.is_logged:
            spent_ms = 1000 * (time.perf_counter() - started)
            line = f"{self.command} {target.path} {outcome} {spent_ms:.1f} ms\n"
            sys.stderr.write(line)

    def _answer_statistics(self, method: str, parameters: dict[str, str]) -> str:
        """Answer a request of the statistics API; what came of it, for the log."""
        try:
            account = check_request(method, parameters, self.server.simulator.find)
        except RequestFailedError as error:
            answer = render_failure(error.failure, self._common_answers())
            self._send(answer)
            return str(answer.status)
        return self._answer_account(
            account, method, lambda: answer_method(account, method, parameters)
        )

    def _answer_unified(self, path: str, query: str) -> str:
        """Answer a request of the unified API; what came of it, for the log."""
        account = self.server.simulator.find(read_key(query))
        answers = account.answers if account else self._common_answers()
        status, headers = find_refusal(path, query, answers)
        if status:
            self._send(Answer(status, (_HTML,)), content_type=_HTML_TYPE, headers=headers)
            return str(status)
        try:
            account, method, rest = check_unified_request(query, self.server.simulator.find)
        except UnifiedFailureError as error:
            self._send(render_unified_failure(str(error)))
            return str(error)
        return self._answer_account(account, method, lambda: answer_unified(account, rest))

    def _answer_account(
        self, account: Account, method: str, make_answer: Callable[[], Answer]
    ) -> str:
        """Answer a request of an account, with its faults."""
        with account.count_request(method):
            for fault in account.faults.strike(method):
                if fault.kind != "latency":
                    # Only a cut needs the right answer.
                    answer = make_answer() if fault.kind in CUTS else Answer(200, ())
                    return self._show_fault(fault, answer)
                self.server.closing.wait(fault.seconds)
            answer = make_answer()
            if answer.over_limit:
                fault = Fault(answer.over_limit, seconds=account.answers.hang_sec, status=504)
                return self._show_fault(fault, answer)
            self._send(answer)
        return str(answer.status)

    def _show_fault(self, fault: Fault, answer: Answer) -> str:
        kept = answer.body[: int(answer.size * fault.kept_share)]
        match fault.kind:
            case "server_error":
                self._send(Answer(fault.status, (_HTML,)), content_type=_HTML_TYPE)
            case "html":
                self._send(Answer(200, (_HTML,)), content_type=_HTML_TYPE)
            case "too_many_requests":
                headers = {} if fault.retry_after is None else {"Retry-After": fault.retry_after}
                self._send(Answer(429, (b'{"message":"Too Many Requests"}',)), headers=headers)
            case "cut_body":
                self._send(Answer(answer.status, (kept,)))
            case "cut_connection":
                self.close_connection = True
                self._send(Answer(answer.status, (kept,)), promised=answer.size)
            case "hang" | "latency":
                self.server.closing.wait(fault.seconds)
                self.close_connection = True
        return fault.kind

    def _send(
        self,
        answer: Answer,
        *,
        content_type: str = "application/json; charset=utf-8",
        headers: dict[str, str] | None = None,
        promised: int | None = None,
    ) -> None:
        """Send an answer; `promised` is a body's length other than the true one."""
        self.send_response(answer.status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(answer.size if promised is None else promised))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            for part in answer.parts:
                self.wfile.write(part)
