"""A scripted HTTP server: a test says what each request gets, and sees what was asked.

Real sockets on loopback, so that cut connections, time-outs and keep-alive are the real ones.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Asked:
    """One request: the method's name and its parameters."""

    method: str
    parameters: dict[str, str]

    @property
    def start(self) -> int:
        return _epoch(self.parameters["date[from]"])

    @property
    def end(self) -> int:
        return _epoch(self.parameters["date[to]"])


@dataclass(frozen=True)
class Answer:
    """What a request gets.

    `cut_to` sends only so many bytes of the body, then hangs up; `pace_sec` is the pause after each
    64 KiB.
    """

    body: bytes = b'{"result": []}'
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cut_to: int | None = None
    pace_sec: float = 0.0


@dataclass
class FakeSource:
    """The server's address and everything that it was asked so far."""

    base_url: str
    asked: list[Asked] = field(default_factory=list)


def _epoch(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def json_answer(content: object, status: int = 200, **headers: str) -> Answer:
    shown = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(json.dumps(content, ensure_ascii=False).encode(), status, shown)


def calls_answer(*calls: dict[str, Any]) -> Answer:
    return json_answer({"result": list(calls)})


def failure_answer(reason: str, status: int = 200) -> Answer:
    return json_answer({"status": "fail", "reason": reason}, status)


def in_order(*answers: Answer) -> Callable[[Asked], Answer]:
    """One answer a request; the last one for all further ones."""
    waiting = list(answers)
    lock = threading.Lock()

    def answer(_asked: Asked) -> Answer:
        with lock:
            return waiting.pop(0) if len(waiting) > 1 else waiting[0]

    return answer


def account_of(
    times: dict[int, int], *, is_end_inclusive: bool = True, is_start_inclusive: bool = True
) -> Callable[[Asked], Answer]:
    """An account that has these calls: id -> epoch."""

    def answer(asked: Asked) -> Answer:
        start = asked.start if is_start_inclusive else asked.start + 1
        end = asked.end if is_end_inclusive else asked.end - 1
        return calls_answer(
            *({"id": i, "date_timestamp": t} for i, t in times.items() if start <= t <= end)
        )

    return answer


@contextmanager
def run_fake_source(answer: Callable[[Asked], Answer]) -> Iterator[FakeSource]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Head and body in one segment: else each answer waits 40 ms for a delayed ACK.
        wbufsize = -1

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            query = parse_qs(url.query, keep_blank_values=True)
            asked = Asked(url.path.strip("/"), {name: v[0] for name, v in query.items()})
            source.asked.append(asked)
            given = answer(asked)
            try:
                self.send_response(given.status)
                for name, value in given.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(given.body)))
                self.end_headers()
                body = given.body[: given.cut_to]
                for start in range(0, len(body), 1 << 16):
                    self.wfile.write(body[start : start + (1 << 16)])
                    if given.pace_sec:
                        self.wfile.flush()
                        time.sleep(given.pace_sec)
                self.wfile.flush()
            except OSError:
                self.close_connection = True  # the client has given up
            if given.cut_to is not None:
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    source = FakeSource(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield source
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
