"""What the receiver answers, keeps, says of itself and leaves unsaid."""

import concurrent.futures
import http.client
import json
import random
import re
import socket
import statistics
import threading
import time
from pathlib import Path

import pytest

from callkeeper_assets_tests.waiting import wait_until
from callkeeper_assets_tests.webhooks.installation import (
    PATIENCE_SEC,
    TOKENS,
    Installation,
    Receiver,
    url_of,
)

JSON = {"content-type": "application/json"}
FORM = {"content-type": "application/x-www-form-urlencoded"}
PHONE = "+79161234567"


def test_json_form_and_query_are_kept_as_received(
    shared_installation: Installation, receiver: Receiver
) -> None:
    body = '{"id": 1, "hook_event": "Call is over", "site": "пример"}'.encode()
    posted = receiver.request("POST", url_of("office"), body, JSON)
    assert (posted.status, posted.body) == (200, "")
    form = b"id=2&hook_event=Call+is+over"
    headers = {"content-type": "application/x-www-form-urlencoded"}
    assert receiver.request("POST", url_of("office"), form, headers).status == 200
    assert receiver.request("GET", f"{url_of('office')}?id=3&a=%20b").status == 200
    rows = shared_installation.query(
        "SELECT format, body, event, call_id, state, a.name FROM callkeeper_webhooks"
        " JOIN general_accounts AS a USING (account_id) WHERE call_id IN (1, 2, 3) ORDER BY call_id"
    )
    assert [(row[0], bytes(row[1]), *row[2:]) for row in rows] == [
        ("json", body, "Call is over", 1, "new", "office"),
        ("form", form, "Call is over", 2, "new", "office"),
        ("query", b"id=3&a=%20b", None, 3, "new", "office"),
    ]


@pytest.mark.parametrize(
    ("method", "target", "body", "headers", "kept"),
    [
        ("PUT", "{url}", b'{"id": 101}', JSON, ("json", b'{"id": 101}')),
        ("DELETE", "{url}", b"id=102", FORM, ("form", b"id=102")),
        ("DELETE", "{url}?id=103", None, {}, ("query", b"id=103")),
        ("POST", "{url}?id=104&a=b", b"{}", JSON, ("query", b"id=104&a=b")),
        ("PUT", "{url}?id=105", b"", FORM, ("query", b"id=105")),
        ("POST", "{url}", b'[{"id": 106}]', JSON, ("json", b'[{"id": 106}]')),
        ("POST", "/{url}", b'{"id": 107}', JSON, ("json", b'{"id": 107}')),
        ("POST", "{url}/", b'{"id": 108}', JSON, ("json", b'{"id": 108}')),
        ("GET", "//{url}//?id=109", None, {}, ("query", b"id=109")),
        ("POST", "{doubled}", b'{"id": 110}', JSON, ("json", b'{"id": 110}')),
        ("POST", "{escaped}", b'{"id": 111}', JSON, ("json", b'{"id": 111}')),
        # A GET with a body, sent in chunks or not: the query counts where there is one.
        ("GET", "{url}", b'{"id": 112}', JSON, ("json", b'{"id": 112}')),
        ("GET", "{url}?id=113", b'{"id": 1}', JSON, ("query", b"id=113")),
        ("POST", "{url}", b'{"id": 114}', {"content-type": "text/html"}, ("json", b'{"id": 114}')),
        ("POST", "{url}", b"id=115", {}, ("form", b"id=115")),
    ],
)
def test_every_way_to_send_a_webhook_is_taken(
    shared_installation: Installation,
    receiver: Receiver,
    *,
    method: str,
    target: str,
    body: bytes | None,
    headers: dict[str, str],
    kept: tuple[str, bytes],
) -> None:
    url = url_of("office")
    path = target.format(url=url, doubled=url.replace("/", "//"), escaped=url.replace("e/", "e%2F"))
    answer = receiver.request(method, path, body, headers)
    assert (answer.status, answer.body) == (200, "")
    query = "SELECT format, body FROM callkeeper_webhooks WHERE call_id = %s AND state = 'new'"
    [(form, found)] = shared_installation.query(query, int(re.findall(rb"\d{3}", kept[1])[0]))
    assert (form, bytes(found)) == kept


def test_a_body_in_chunks_is_taken_whatever_the_method(
    shared_installation: Installation, receiver: Receiver
) -> None:
    for number, method in enumerate(("GET", "PUT", "DELETE", "POST"), start=120):
        connection = http.client.HTTPConnection("127.0.0.1", receiver.port, timeout=30)
        chunks = iter([b'{"id"', b": %d}" % number])
        connection.request(method, url_of("office"), chunks, JSON, encode_chunked=True)
        assert connection.getresponse().status == 200
        connection.close()
    query = "SELECT count(*) FROM callkeeper_webhooks WHERE call_id BETWEEN 120 AND 123"
    assert shared_installation.query(query) == [(4,)]


def test_an_unreadable_body_is_answered_400_and_kept_with_its_reason(
    shared_installation: Installation, receiver: Receiver
) -> None:
    answer = receiver.request("POST", url_of("clinic"), b'{"id": NaN}', JSON)
    assert answer.status == 400
    assert answer.body == "Kept, but not readable: send JSON in UTF-8, or a form.\n"
    count, state, reason = shared_installation.read_inbox()[b'{"id": NaN}']
    assert (count, state) == (1, "rejected")
    assert reason is not None
    assert reason.startswith("it is not JSON")


def test_a_payload_that_comes_again_is_answered_200_and_kept_once(
    shared_installation: Installation, receiver: Receiver
) -> None:
    document = {"id": 10, "hook_event": "Call is over"}
    assert [receiver.post(document) for _ in range(3)] == [200] * 3
    assert shared_installation.read_inbox()[json.dumps(document).encode()][0] == 3


def test_what_comes_again_waits_to_be_processed_but_for_what_can_be_no_call(
    shared_installation: Installation, receiver: Receiver
) -> None:
    assert [receiver.post({"id": 11}) for _ in range(2)] == [200] * 2
    assert [receiver.post({"id": float("nan"), "n": 11}) for _ in range(2)] == [400] * 2
    found = shared_installation.query(
        "SELECT w.state, r.is_waiting FROM callkeeper_webhook_repeats AS r "
        "JOIN callkeeper_webhooks AS w ON (w.account_id, w.id) = (r.account_id, r.webhook_id) "
        "WHERE encode(w.body, 'escape') ~ ' 11}$' ORDER BY 1"
    )
    assert found == [("new", True), ("rejected", False)]


def test_the_accounts_own_names_are_read(installation: Installation) -> None:
    installation.write_source("office", "{call_id: order, event: kind}")
    with installation.receiving() as receiver:
        assert receiver.post({"order": "55", "kind": "end", "id": 1}) == 200
    assert installation.query("SELECT call_id, event FROM callkeeper_webhooks") == [(55, "end")]


@pytest.mark.parametrize(
    "path",
    [
        url_of("office", "wrong"),
        url_of("office", TOKENS["clinic"]),
        url_of("office", ""),
        url_of("office", TOKENS["office"] + "x"),
        "/webhooks/office",
        "/webhooks/nobody/" + TOKENS["office"],
        "/webhooks//",
        "/webhooks/untold/token",
        "/",
        "/other",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_whoever_is_not_let_in_gets_one_and_the_same_answer(
    receiver: Receiver, method: str, path: str
) -> None:
    answer = receiver.request(method, path, b"{}" if method == "POST" else None)
    headers = {name: value for name, value in answer.headers.items() if name != "date"}
    assert (answer.status, answer.body) == (404, "Not found.\n")
    assert headers == {"content-type": "text/plain; charset=utf-8", "content-length": "11"}


def test_a_source_without_token_or_without_webhooks_is_unknown(installation: Installation) -> None:
    del installation.variables["CLINIC_WEBHOOK_TOKEN"]
    folder = installation.home / "defs" / "silent"
    folder.mkdir()
    (folder / "defs.yaml").write_text(
        "type: callkeeper_assets.CallKeeperSource\nattributes:\n  api_key: {env: SILENT_API_KEY}\n"
    )
    with installation.receiving() as receiver:
        for path in ("/webhooks/clinic/", "/webhooks/clinic/x", "/webhooks/silent/"):
            assert receiver.request("POST", path, b"{}").status == 404
        assert receiver.post({"id": 1}) == 200
    log = receiver.read_log()
    assert "CLINIC_WEBHOOK_TOKEN" in log
    assert "Until then its webhooks are answered with 404." in log


def _measure_404(receiver: Receiver, paths: list[str], rounds: int) -> dict[str, list[float]]:
    """Seconds of each request, in turns of random order, over one connection."""
    seconds: dict[str, list[float]] = {path: [] for path in paths}
    shuffled = random.Random(7)  # noqa: S311 -- not a secret
    with socket.create_connection(("127.0.0.1", receiver.port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(rounds):
            for path in shuffled.sample(paths, len(paths)):
                request = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{{}}"
                began = time.perf_counter()
                connection.sendall(request.encode())
                answer = b""
                while not answer.endswith(b"Not found.\n"):
                    answer += connection.recv(65536)
                seconds[path].append(time.perf_counter() - began)
    return seconds


def _find_share_above(one: list[float], other: list[float]) -> float:
    """How often a value of one is above a value of the other: 0.5 if nobody can tell them apart."""
    ranked = sorted([(value, 1) for value in one] + [(value, 0) for value in other])
    ranks = sum(rank for rank, (_, is_one) in enumerate(ranked, start=1) if is_one)
    return (ranks - len(one) * (len(one) + 1) / 2) / (len(one) * len(other))


def test_a_wrong_token_takes_as_long_as_an_unknown_source(receiver: Receiver) -> None:
    """By ranks, which a busy machine's outliers do not move; 0.04 is five standard errors."""
    almost = TOKENS["office"][:-1] + "x"
    paths = [url_of("office", almost), f"/webhooks/nobody/{almost}", url_of("office", "z" * 23)]
    seconds = _measure_404(receiver, paths, 2500)
    known, unknown, far = seconds.values()
    assert abs(_find_share_above(known, unknown) - 0.5) < 0.04, statistics.median(known)
    assert abs(_find_share_above(known, far) - 0.5) < 0.04, statistics.median(far)


@pytest.mark.parametrize("method", ["HEAD", "PATCH", "OPTIONS"])
@pytest.mark.parametrize("path", [url_of("office"), "/webhooks/nobody/x"])
def test_other_methods_are_405_for_everybody(receiver: Receiver, method: str, path: str) -> None:
    answer = receiver.request(method, path)
    assert (answer.status, answer.headers["allow"]) == (405, "DELETE, GET, POST, PUT")
    assert answer.body == ("" if method == "HEAD" else "Send POST, GET, PUT or DELETE.\n")


def test_the_largest_body_is_kept_and_one_byte_more_is_413(
    shared_installation: Installation, receiver: Receiver
) -> None:
    largest = b'{"id": 20, "x": "' + b"x" * (1024 * 1024 - 19) + b'"}'
    assert len(largest) == 1024 * 1024
    assert receiver.request("POST", url_of("office"), largest, JSON).status == 200
    assert largest in shared_installation.read_inbox()
    answer = receiver.request("POST", url_of("office"), largest + b" ", JSON)
    assert (answer.status, answer.body) == (413, "At most 1 MiB.\n")
    chunks = (b" " * 65536 for _ in range(32))
    connection = http.client.HTTPConnection("127.0.0.1", receiver.port, timeout=30)
    connection.request("POST", url_of("office"), chunks, JSON, encode_chunked=True)
    assert connection.getresponse().status == 413
    connection.close()


def test_health_and_metrics_say_what_there_is(receiver: Receiver) -> None:
    answer = receiver.health()
    assert answer.status == 200
    assert answer.document == {
        "status": "ok",
        "database": "reachable",
        "spool": "writable",
        "spooled": 0,
    }
    assert receiver.post({"id": 30, "new": 1}) == 200
    text = receiver.request("GET", "/metrics").body
    figures = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(figures['callkeeper_webhook_requests_total{source="office",status="200"}']) >= 1
    assert float(figures['callkeeper_webhook_waiting{source="office"}']) >= 1
    oldest = float(figures['callkeeper_webhook_oldest_timestamp_seconds{source="office"}'])
    assert 0 < time.time() - oldest < 600
    for name in ("seconds_count", "group_size_count", "repeats_total", "spooled"):
        assert f"callkeeper_webhook_{name}" in figures
    assert figures["callkeeper_webhook_database_reachable"] == "1.0"
    assert not any(token in text for token in TOKENS.values())


def test_neither_log_nor_files_hold_token_or_phone(installation: Installation) -> None:
    with installation.receiving() as receiver:
        receiver.post({"id": 1, "phone2": PHONE})
        receiver.request("GET", f"{url_of('office')}?id=2&phone2={PHONE}")
        receiver.request("POST", url_of("office"), PHONE.encode())
        receiver.request("POST", url_of("nobody", TOKENS["office"]), PHONE.encode())
        receiver.request("PATCH", url_of("office") + "?" + PHONE)
        with socket.create_connection(("127.0.0.1", receiver.port)) as connection:
            connection.sendall(f"{PHONE} {TOKENS['office']}\r\n\r\n".encode())
            assert connection.recv(100).startswith(b"HTTP/1.1 400 ")
        with installation.database_away():
            receiver.post({"id": 3})
        assert receiver.stop() == 0
    log = receiver.read_log()
    lines = re.findall(r"^\S+Z (\S+) (\d+) (\d+) B [\d.]+ ms$", log, re.MULTILINE)
    assert ("office", "200", "35") in lines
    assert {(source, status) for source, status, _ in lines} >= {
        ("office", "200"),
        ("office", "400"),
        ("-", "404"),
        ("-", "405"),
        ("-", "400"),
    }
    files = [file for file in installation.home.rglob("*") if file.is_file()]
    assert receiver.log in files
    for file in files:
        content = file.read_bytes()
        assert PHONE[1:].encode() not in content, file
        assert not any(token.encode() in content for token in TOKENS.values()), file


def test_several_receivers_share_a_database(installation: Installation) -> None:
    with (
        installation.receiving() as first,
        installation.receiving() as second,
        concurrent.futures.ThreadPoolExecutor(8) as pool,
    ):
        posted = [
            pool.submit(receiver.post, {"id": number % 50})
            for number in range(100)
            for receiver in (first, second)
        ]
        assert {future.result() for future in posted} == {200}
    inbox = installation.read_inbox()
    assert {count for count, _, _ in inbox.values()} == {4}
    assert len(inbox) == 50


def test_a_request_under_way_is_answered_when_it_is_told_to_stop(
    installation: Installation,
) -> None:
    with installation.receiving() as receiver:
        body = b'{"id": 1}'
        head = f"POST {url_of('office')} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", receiver.port)) as connection:
            connection.sendall(head.encode() + body[:4])
            time.sleep(0.3)
            ended: list[int] = []
            stopping = threading.Thread(target=lambda: ended.append(receiver.stop()))
            stopping.start()
            time.sleep(0.3)
            connection.sendall(body[4:])
            answer = connection.recv(1000)
            stopping.join()
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"connection: close" in answer
    assert ended == [0]
    assert list(installation.read_inbox()) == [body]
    assert receiver.read_log().endswith("Stopped.\n")


def test_a_taken_port_and_missing_webhooks_are_said(
    installation: Installation, receiver: Receiver
) -> None:
    done = installation.callkeeper("webhooks", "--port", str(receiver.port))
    assert done.returncode == 1
    assert f"127.0.0.1:{receiver.port} cannot be listened at" in done.stderr
    assert f"callkeeper webhooks --port {receiver.port + 1}" in done.stderr
    for name in TOKENS:
        (installation.home / "defs" / name / "defs.yaml").write_text(
            f"type: callkeeper_assets.CallKeeperSource\nattributes:\n  api_key: {{env: {name}_K}}\n"
        )
    done = installation.callkeeper("webhooks")
    assert done.returncode == 1
    assert "No source takes webhooks. Add to its defs.yaml" in done.stderr


def test_what_was_rejected_is_listed_and_replayed_by_the_command(
    installation: Installation,
) -> None:
    with installation.receiving() as receiver:
        receiver.request("POST", url_of("office"), b"hello")
        receiver.request("POST", url_of("office"), b"hello")
        receiver.post({"id": 1})
    done = installation.callkeeper("inbox")
    assert done.returncode == 0, done.stderr
    assert "it is neither JSON nor a form" in done.stdout
    assert "callkeeper inbox --replay" in done.stdout
    listed = json.loads(installation.callkeeper("inbox", "office", "--json").stdout)["entries"]
    assert [(entry["source"], entry["repeats"], entry["size_bytes"]) for entry in listed] == [
        ("office", 1, 5)
    ]
    assert installation.callkeeper("inbox", "clinic").stdout == "No payload is rejected.\n"
    assert installation.callkeeper("inbox", "--replay", "--state", "new").returncode == 2
    done = installation.callkeeper("inbox", "--replay")
    assert done.stdout == "1 rejected payloads wait to be processed again.\n"
    waiting = installation.callkeeper("inbox", "--state", "new", "--limit", "1").stdout
    assert "There may be more; --limit is 1." in waiting
    assert {state for _, state, _ in installation.read_inbox().values()} == {"new"}


def test_a_source_that_is_refused_does_not_keep_the_others_from_receiving(
    installation: Installation, tmp_path: Path
) -> None:
    assert tmp_path.exists()
    (installation.home / "defs" / "clinic" / "defs.yaml").write_text("type: [")
    with installation.receiving() as receiver:
        assert receiver.post({"id": 1}) == 200
        wait_until(
            lambda: "Until then its webhooks are answered with 404." in receiver.read_log(),
            "it is said",
            PATIENCE_SEC,
        )
