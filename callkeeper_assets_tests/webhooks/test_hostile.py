"""What a stranger or a broken program may send: a clear answer or a closed door, and no more."""

import contextlib
import http.client
import re
import resource
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callkeeper_assets.webhooks.server import _MOST_CONNECTIONS, KEEP_ALIVE_SEC
from callkeeper_assets_tests.extent import examples
from callkeeper_assets_tests.webhooks.installation import Installation, Receiver, url_of

# Of a connection that sends nothing, or slowly: 10 s for a head and 20 s for a body, and a slow
# machine's moment.
_HEAD_SEC = 18.0
_BODY_SEC = 30.0
# Longer than the limits of a request's head and body: those do not hold between requests.
_LONG_IDLE_SEC = 18.0


def _exchange(receiver: Receiver, *parts: bytes, pause: float = 0.0) -> bytes:
    """Send parts with pauses between; return the answer's first line, nothing if there is none."""
    with (
        socket.create_connection(("127.0.0.1", receiver.port), timeout=30) as connection,
        contextlib.suppress(OSError),
    ):
        with contextlib.suppress(OSError):
            for part in parts:
                connection.sendall(part)
                time.sleep(pause)
        return connection.makefile("rb").readline()
    return b""


def _status(answer: bytes) -> int:
    return int(answer.split()[1]) if answer.startswith(b"HTTP/1.1 ") else 0


def _post(body: bytes, content_type: str = "application/json") -> bytes:
    head = (
        f"POST {url_of('office')} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
        f"content-type: {content_type}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


_HEAD = f"POST {url_of('office')} HTTP/1.1\r\nhost: x\r\n".encode()


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (_post(b'{"id": 1, "x": "' + b"x" * 2 * 1024 * 1024 + b'"}'), 413),
        (_HEAD + b"content-length: 99999999999\r\n\r\n{", 413),
        (_HEAD + b"content-length: -5\r\n\r\n", 400),
        (_HEAD + b"content-length: 1\r\ncontent-length: 2\r\n\r\n{}", 400),
        (_HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\n", 400),
        (_HEAD + b"x-header: of no use\r\n" * 10_000 + b"\r\n", 431),
        (_HEAD + b"x: " + b"y" * 2_000_000 + b"\r\n\r\n", 431),
        (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n", 431),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 500, 400),
        (b"GET / HTTP/9.9\r\n\r\n", 400),
        ("GET /webhooks/офис/x HTTP/1.1\r\n\r\n".encode(), 400),
        (_post(b"\xff\xfe{}"), 400),
        (_post(b'{"site": "\xd0"}'), 400),
        (_post(b'{"a":' * 100_000), 400),
        (_post(b'{"id": NaN}'), 400),
        (_post(b'{"id": ' + b"9" * 400 + b"}"), 200),
        (_post(b'{"id": 1, "x": 1' + b"0" * 400 + b', "y": 1e400}'), 200),
        (_post(b"&".join(b"f%d=%d" % (n, n) for n in range(1000)), "x"), 200),
        (_post(b"a=1&" * 200_000, "x"), 400),
        (_post(b"[" * 1_000_000), 400),
        (_post(b"--x\r\n" + b"content-disposition: name=" * 40_000 + b"\r\n\r\n", "x"), 200),
        (_post(b"%00=%00&\0=\0", "x"), 200),
        (_post(b'{"id": "\\ud800", "hook_event": "\\u0000"}'), 200),
        (_post(b'{"id": 3, "hook_event": "\\u0000\\u0000x"}'), 200),
        (f"GET {url_of('office')}?%ff%00&id=%FF HTTP/1.1\r\nhost: x\r\n\r\n".encode(), 400),
        (b"GET /webhooks/office/%ff%00 HTTP/1.1\r\nhost: x\r\n\r\n", 404),
    ],
    ids=lambda value: f"{value[-30:]!r}" if isinstance(value, bytes) else str(value),
)
def test_each_nonsense_gets_a_clear_answer(receiver: Receiver, sent: bytes, status: int) -> None:
    assert _status(_exchange(receiver, sent)) == status
    assert receiver.post({"id": 1, "after": "nonsense"}) == 200


_SMALL = _HEAD + b"content-length: 9\r\n\r\n" + b'{"id": 4}'
_AHEAD = b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n"


@pytest.mark.parametrize(
    ("sent", "statuses"),
    [
        (_SMALL + _SMALL, [b"200"]),
        (_SMALL + b"no HTTP at all\r\n\r\n", [b"200"]),
        (_AHEAD + _SMALL, [b"200"]),
        (_SMALL + _AHEAD, [b"200"]),
        (_HEAD.replace(b"POST", b"HEAD") + b"\r\n", [b"405"]),
    ],
    ids=["two", "nonsense behind", "behind another", "another behind", "HEAD"],
)
def test_what_is_sent_too_early_is_not_answered_for_another(
    receiver: Receiver, sent: bytes, statuses: list[bytes]
) -> None:
    """Each answer is the next request's; what is not answered is sent again by who sent it."""
    assert _read_statuses(receiver, sent) == statuses


def _read_statuses(receiver: Receiver, sent: bytes) -> list[bytes]:
    """Send, and return the statuses of all answers."""
    with socket.create_connection(("127.0.0.1", receiver.port), timeout=_BODY_SEC) as connection:
        connection.sendall(sent)
        answer = b""
        with contextlib.suppress(TimeoutError):
            while chunk := connection.recv(65536):
                answer += chunk
                connection.settimeout(_BODY_SEC if answer.startswith(b"HTTP/1.1 100") else 2)
    return re.findall(rb"HTTP/1.1 (\d{3}) ", answer)


def _open_kept(receiver: Receiver, path: str) -> http.client.HTTPConnection:
    """Open a connection, and use it once."""
    connection = http.client.HTTPConnection("127.0.0.1", receiver.port, timeout=10)
    connection.request("GET", path)
    connection.getresponse().read()
    return connection


def test_who_comes_when_all_connections_are_taken_gets_that_of_the_longest_idle(
    receiver: Receiver,
) -> None:
    """Idle ones are kept for long: they may not keep anybody out."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(2048, hard) if hard > 0 else 2048, hard))
    kept: list[http.client.HTTPConnection] = []
    try:
        kept += [_open_kept(receiver, "/health") for _ in range(_MOST_CONNECTIONS + 20)]
        assert receiver.post({"id": 4}) == 200
        first, *_, last = (connection.sock for connection in kept)
        first.settimeout(5)
        assert first.recv(1) == b""
        last.setblocking(False)
        with pytest.raises(BlockingIOError):
            last.recv(1)
    finally:
        for connection in kept:
            connection.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_connection_is_used_again_and_again(receiver: Receiver) -> None:
    """By webhooks, which are answered here, and by what goes to the application, by turns."""
    connection = http.client.HTTPConnection("127.0.0.1", receiver.port, timeout=10)
    connection.connect()
    socket_then = connection.sock
    for is_webhook in (True, False, True, True, False):
        if is_webhook:
            connection.request("POST", url_of("office"), b'{"id": 4}')
        else:
            connection.request("GET", "/health")
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200
        assert connection.sock is socket_then
    connection.close()


@settings(max_examples=examples(17))
@given(body=st.binary(max_size=3000), content_type=st.sampled_from(["application/json", "x", ""]))
def test_any_body_is_kept_byte_for_byte(
    shared_installation: Installation, receiver: Receiver, body: bytes, content_type: str
) -> None:
    answer = receiver.request("POST", url_of("clinic"), body, {"content-type": content_type})
    assert answer.status in {200, 400}
    rows = shared_installation.query(
        "SELECT state FROM callkeeper_webhooks WHERE body = %s AND format <> 'query'", body
    )
    assert {state for (state,) in rows} >= {"new" if answer.status == 200 else "rejected"}


_lines = st.lists(
    st.sampled_from([b"host: x", b"content-length: 5", b"transfer-encoding: chunked", b"a", b":"])
    | st.binary(max_size=40),
    max_size=6,
)


@settings(max_examples=examples(17))
@given(
    start=st.sampled_from([b"POST /webhooks/office/x HTTP/1.1", b"GET / HTTP/1.0", b"PRI * HTTP/2"])
    | st.binary(max_size=60),
    lines=_lines,
    rest=st.binary(max_size=200),
)
def test_any_bytes_do_no_harm(
    receiver: Receiver, start: bytes, lines: list[bytes], rest: bytes
) -> None:
    with (
        socket.create_connection(("127.0.0.1", receiver.port), timeout=10) as connection,
        contextlib.suppress(ConnectionError),
    ):
        connection.sendall(b"\r\n".join([start, *lines, b"", rest]))
        connection.shutdown(socket.SHUT_WR)
        answer = connection.recv(65536)
        assert answer == b"" or 200 <= _status(answer) < 500
    assert receiver.health().status == 200


_SLOW: Final = {
    # Sent, the pause after each part, what is answered, within how many seconds it is over.
    "a head in drops": ([b"GET /", *[b"x"] * 20], 1.0, 408, _HEAD_SEC),
    "half a head": ([_HEAD], 0.0, 408, _HEAD_SEC),
    "a body in drops": ([_HEAD + b"content-length: 90\r\n\r\n", *[b"x"] * 40], 1.0, 408, _BODY_SEC),
    "half a body": ([_HEAD + b"content-length: 90\r\n\r\n{"], 0.0, 408, _BODY_SEC),
    # Not even an answer.
    "nothing": ([], 0.0, 0, _HEAD_SEC),
    "empty lines": ([b"\r\n"] * 40, 1.0, 0, _HEAD_SEC),
    # Answered at once, and still sending.
    "unasked": (
        [b"POST /webhooks/a/b HTTP/1.1\r\ncontent-length: 90\r\n\r\n", *[b"x"] * 40],
        1.0,
        404,
        _BODY_SEC,
    ),
}


def _be_slow(
    receiver: Receiver, parts: list[bytes], pause: float, limit: float
) -> tuple[int, float]:
    """Send slowly; return the status answered and the seconds until the connection was closed."""
    began = time.monotonic()
    waiting, next_at, answer = list(parts), began, b""
    with (
        socket.create_connection(("127.0.0.1", receiver.port)) as connection,
        contextlib.suppress(ConnectionError),
    ):
        connection.settimeout(0.1)
        while time.monotonic() < began + limit:
            if waiting and time.monotonic() >= next_at:
                connection.sendall(waiting.pop(0))
                next_at += pause
            with contextlib.suppress(TimeoutError):
                chunk = connection.recv(65536)
                if not chunk:
                    break
                answer += chunk
    return _status(answer), time.monotonic() - began


def test_nobody_holds_a_connection_by_being_slow_and_an_idle_one_is_kept(
    receiver: Receiver,
) -> None:
    """A proxy that gives one up later than the receiver sends a webhook into a closed one."""
    assert KEEP_ALIVE_SEC > 90
    kept = [_open_kept(receiver, path) for path in ("/health", f"{url_of('office')}?id=4")]
    sockets, idle_since = [connection.sock for connection in kept], time.monotonic()
    with ThreadPoolExecutor(len(_SLOW) + 1) as pool:
        no_body = pool.submit(
            _read_statuses,
            receiver,
            _HEAD + b"content-length: 9\r\nexpect: 100-continue\r\n\r\n",
        )
        slow = {
            name: pool.submit(_be_slow, receiver, parts, pause, within + 5)
            for name, (parts, pause, _, within) in _SLOW.items()
        }
        # Nobody else notices.
        assert receiver.post({"id": 1, "beside": "slow ones"}) == 200
    for name, (_, _, status, within) in _SLOW.items():
        answered, seconds = slow[name].result()
        assert (name, answered) == (name, status)
        assert seconds < within, name
    assert no_body.result() == [b"100", b"408"]
    assert time.monotonic() - idle_since > _LONG_IDLE_SEC
    for connection in kept:
        connection.request("GET", "/health")
        assert connection.getresponse().status == 200
    assert [connection.sock for connection in kept] == sockets
    for connection in kept:
        connection.close()


def test_idle_strangers_do_not_keep_a_sender_out(receiver: Receiver) -> None:
    """More connections than it takes: those over the limit are closed at once, others time out."""
    with contextlib.ExitStack() as stack:
        refused = 0
        for _ in range(900):
            connection = stack.enter_context(
                socket.create_connection(("127.0.0.1", receiver.port), timeout=5)
            )
            connection.settimeout(0.0)
        time.sleep(1.0)
        for _ in range(200):
            with contextlib.suppress(OSError, AssertionError):
                if receiver.post({"id": 1, "in": "a crowd"}) == 200:
                    break
            refused += 1
            time.sleep(0.1)
        assert refused < 200
    assert "Traceback" not in receiver.read_log()


def test_nonsense_makes_it_no_larger(receiver: Receiver) -> None:
    large = _post(b"[" * 1_000_000)
    headers = _HEAD + b"x-header: of no use\r\n" * 10_000
    for _ in range(10):
        _status(_exchange(receiver, large))
        _status(_exchange(receiver, headers))
    before = receiver.memory_kb()
    for _ in range(40):
        _exchange(receiver, large)
        _exchange(receiver, headers)
    assert receiver.memory_kb() < before + 10_000
    assert "Traceback" not in receiver.read_log()
