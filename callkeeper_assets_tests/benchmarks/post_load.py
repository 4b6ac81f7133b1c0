"""`python -m` this module: posts webhooks as fast as answered, or at a rate; prints figures.

Raw sockets with keep-alive, one request under way in each: the generator must cost little beside
what it measures. At a rate, seconds count from the moment when a request was due, not when it was
sent: a server that stalls does not hide behind the requests that it kept from being sent.
"""

import argparse
import asyncio
import contextlib
import json
import os
import time
from collections import deque
from typing import Final, cast

import uvloop

BODY_BYTES: Final = 2_048
_PLACE: Final = "0000000000000"
_KEPT: Final = b"HTTP/1.1 200 "
_EMPTY: Final = b"content-length: 0\r\n\r\n"
_TICK_SEC: Final = 0.001
_LAST_ANSWERS_SEC: Final = 10.0


def _build_body() -> str:
    """A call as CallKeeper sends it, with a place for the id, filled up to 2 KB."""
    call = {
        "id": _PLACE,
        "hook_event": "Call is over",
        "date": "2026-11-01 10:00:00",
        "date_timestamp": 1793527200,
        "status_code": "200",
        "status2_code": "200",
        "phone1": "+74642512525^4342",
        "phone2": "+79160000000",
        "ip": "192.0.2.1",
        "site": "example.com",
        "duration_min": "2",
        "visit_info": {
            "current": {"typ": "utm", "src": "yandex", "mdm": "cpc", "cmp": "brand", "trm": "x"},
            "session": {"pgs": "3", "cpg": "https://example.com/contacts"},
            "udata": {"vst": "1", "uag": "Mozilla/5.0 (X11; Linux x86_64)", "uip": "192.0.2.1"},
        },
        "tags": " ",
    }
    missing = BODY_BYTES - len(json.dumps({**call, "filler": ""}))
    return json.dumps({**call, "filler": "z" * missing})


class _Connection(asyncio.Protocol):
    def __init__(self, load: "_Load") -> None:
        self._load = load
        self._received = b""
        self.due_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's own class is no subclass of it.
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if not self._received and data.startswith(_KEPT) and data.endswith(_EMPTY):
            # All answers but few: at a time of its own, the generator would be what is measured.
            self._load.note(self, is_kept=True)
            return
        self._received += data
        head, blank_line, body = self._received.partition(b"\r\n\r\n")
        if not blank_line:
            return
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        if len(body) >= int(length):
            self._received = b""
            self._load.note(self, is_kept=head.startswith(b"HTTP/1.1 200 "))


class _Load:
    def __init__(self, path: str, first_id: int, most: int | None) -> None:
        before, _, after = _build_body().partition(_PLACE)
        head = f"POST {path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n"
        self._before = f"{head}content-length: {BODY_BYTES}\r\n\r\n{before}".encode()
        self._after = after.encode()
        self._next_id = first_id
        self._left = most
        self._under_way = 0
        self.idle: list[_Connection] = []
        self._late: deque[float] = deque()
        self.ended = asyncio.Event()
        # Set while no request is under way.
        self.answered = asyncio.Event()
        self.is_at_rate = False
        self.seconds: list[float] = []
        self.refused = 0

    def send(self, connection: _Connection, due_at: float) -> None:
        self._under_way += 1
        self.answered.clear()
        self._next_id += 1
        connection.due_at = due_at
        number = b"%0*d" % (len(_PLACE), self._next_id)
        connection.transport.write(self._before + number + self._after)

    def note(self, connection: _Connection, *, is_kept: bool) -> None:
        now = time.perf_counter()
        self._under_way -= 1
        self.seconds.append(now - connection.due_at)
        self.refused += not is_kept
        if self._left is not None:
            self._left -= 1
            if self._left <= 0:
                self.ended.set()
        if self._late:
            self.send(connection, self._late.popleft())
        elif self.is_at_rate or self.ended.is_set():
            self.idle.append(connection)
            if not self._under_way:
                self.answered.set()
        else:
            self.send(connection, now)

    def start_due(self, due_at: float) -> None:
        if self.idle:
            self.send(self.idle.pop(), due_at)
        else:
            self._late.append(due_at)


async def _keep_rate(load: _Load, rate: float, began: float, until: float) -> None:
    load.is_at_rate = True
    count = 0
    while (now := time.perf_counter()) < until:
        while (due_at := began + count / rate) <= now:
            load.start_due(due_at)
            count += 1
        await asyncio.sleep(_TICK_SEC)


async def _run(given: argparse.Namespace) -> dict[str, float]:
    loop = asyncio.get_running_loop()
    load = _Load(given.path, given.first_id, given.count)
    for _ in range(given.connections):
        _, connection = await loop.create_connection(
            lambda: _Connection(load), "127.0.0.1", given.port
        )
        load.idle.append(connection)
    began = time.perf_counter()
    if given.rate:
        await _keep_rate(load, given.rate, began, began + given.seconds)
    else:
        for connection in [load.idle.pop() for _ in range(len(load.idle))]:
            load.send(connection, began)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(load.ended.wait(), given.seconds)
    load.ended.set()
    took = time.perf_counter() - began
    answered = len(load.seconds)
    await asyncio.wait_for(load.answered.wait(), _LAST_ANSWERS_SEC)
    in_order = sorted(load.seconds)
    return {
        "rate": answered / took,
        "answered": len(in_order),
        "refused": load.refused,
        "median_ms": 1000 * in_order[len(in_order) // 2],
        "p99_ms": 1000 * in_order[int(0.99 * len(in_order))],
    }


def main() -> None:
    """Post, and print what came of it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--connections", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True, help="at most")
    parser.add_argument("--count", type=int, help="end after so many answers")
    parser.add_argument(
        "--rate", type=float, default=0.0, help="requests/s; 0: as fast as answered"
    )
    parser.add_argument("--first-id", type=int, required=True)
    parser.add_argument("--core", type=int, required=True)
    given = parser.parse_args()
    os.sched_setaffinity(0, {given.core})
    print(json.dumps(uvloop.run(_run(given))))  # noqa: T201


if __name__ == "__main__":
    main()
