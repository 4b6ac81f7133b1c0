"""After loads and webhooks that went well or failed in every way, no secret is anywhere.

No API key and no webhook token: not in a table of the warehouse or of Dagster, not in a file below
the home, not in what the commands printed, but for the URL that `check` is asked for. A planted key
proves that the search would find one.
"""

import http.client
import json
import os
import secrets
import socket
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from callkeeper_assets.callkeeper.records import ApiName
from callkeeper_assets.cli.serving import find_free_port, is_listening
from callkeeper_assets.home import project_root
from callkeeper_assets.simulator.server import RunningSimulator, run_simulator
from callkeeper_assets.simulator.settings import AccountSettings, AnswerSettings, Fault
from callkeeper_assets_tests.chaos.holds import hold, wait_for_servers_end_of_it
from callkeeper_assets_tests.chaos.installation import Ended, Installation
from callkeeper_assets_tests.e2e.secret_search import Searcher
from callkeeper_assets_tests.extent import IS_LONG, each_api
from callkeeper_assets_tests.waiting import wait_until

FIRST, LAST = date(2026, 1, 10), date(2026, 1, 12)
# Where Dagster would write if its instance were not told to do it elsewhere.
_DAGSTER_FOLDERS: Final = ("storage", "logs", "history", "schedules", ".logs_queue")
# The server that people blame: it repeats the request's address, key and all, in whatever it says.
_SIMULATED: Final = {
    "good": AnswerSettings(),
    "refused": AnswerSettings(refusal="wrong_key"),
    "no_host": AnswerSettings(refusal="unauthorized_host", failure_status="ok"),
    "unknown": AnswerSettings(refusal="unknown_user", failure_shape="object"),
    "silent": AnswerSettings(),
}
# Of no call, so that whatever has it has it from a command.
_NOBODYS: Final = "79005550199"
_ECHOED: Final = ("page", "error", "reason", "refusal", "redirect", "call")


class _Echo(BaseHTTPRequestHandler):
    """Answers with the request's own address: `/<kind>/<method>?api_key=…`."""

    def do_GET(self) -> None:
        kind = self.path.split("/")[1]
        status = {"error": 500, "refusal": 400, "redirect": 302}.get(kind, 200)
        text = f"<html>{self.requestline} {self.path}</html>"
        if kind in ("reason", "refusal"):
            text = json.dumps({"status": "fail", "reason": f"no such request: {self.path}"})
        elif kind == "call":
            text = json.dumps({"result": [{"id": self.path, "date": self.path}]})
        body = text.encode()
        self.send_response(status, self.path)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Location", self.path)
        # Longer than anybody waits, so that the test need not.
        self.send_header("Retry-After", "9999" if kind == "error" else self.path)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@contextmanager
def _run_echo() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Echo)
    server.daemon_threads = True
    thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.02))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _add_sources(
    installation: Installation, simulator: RunningSimulator, echo: str, token: str, api: ApiName
) -> dict[str, str]:
    """Configure a source for each way to end, one with webhooks; return their keys by name."""
    keys = {name: secrets.token_hex(16) for name in (*_SIMULATED, *_ECHOED, "nobody")}
    # The older form of keys, which no pattern would recognise.
    keys["reason"] = "Zq7" + secrets.token_hex(6) + "W"
    for name, key in keys.items():
        base_url = f"{echo}/{name}/index" if api == "ckct" else f"{echo}/{name}"
        if name in _SIMULATED:
            account = simulator.simulator.add_account(
                AccountSettings(key=key, name=name, calls_per_day=20), _SIMULATED[name]
            )
            if name == "silent":
                account.set_faults(Fault("hang", seconds=0.05))
            base_url = simulator.base_urls[api]
        elif name == "nobody":
            base_url = "http://127.0.0.1:9"
        installation.add_source(
            base_url,
            name=name,
            key=key,
            webhook_token=token if name == "good" else "",
            api=api,
        )
    return keys


def _post(port: int, method: str, path: str, body: bytes) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body)
        return connection.getresponse().status
    finally:
        connection.close()


def _send(port: int, content: bytes) -> bytes:
    """Send what is no HTTP; return the beginning of the answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(content)
        return connection.recv(12)


def _database_of(port: int) -> str:
    """What the receiver says of its database: `reachable` or `away`."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=30) as answer:
        return str(json.load(answer)["database"])


def _receive(
    installation: Installation, token: str, call: dict[str, object], *, has_database: bool
) -> str:
    """Run a receiver, and have it answer in all ways that it has; return what it printed."""
    port = find_free_port()
    receiver = installation.start("callkeeper_assets.cli.main", "webhooks", "--port", str(port))
    try:
        wait_until(lambda: is_listening(port), "the receiver listens")
        if has_database:
            # What comes before is spooled, and in the inbox only when a receiver has drained it.
            wait_until(lambda: _database_of(port) == "reachable", "its database is reached")
        path, body = f"/webhooks/good/{token}", json.dumps(call).encode()
        statuses = [
            _post(port, method, address, content)
            for method, address, content in (
                ("POST", path, body),
                ("POST", path, b"no call"),
                ("POST", path, b'{"hook_event": "Call is over"}'),
                ("POST", path, b"x" * 2**21),
                ("POST", f"/webhooks/{token}/{token}", body),
                ("POST", f"{path}x", body),
                ("POST", f"/{token}", body),
                ("PATCH", path, body),
            )
        ]
        assert statuses == [200, 400, 200, 413, 404, 404, 404, 405]
        assert _send(port, f"{token} {path}\r\n\r\n".encode()) == b"HTTP/1.1 400"
        head = f"GET {path} HTTP/1.1\r\n" + f"x: {path * 50}\r\n" * 40
        assert _send(port, head.encode()) == b"HTTP/1.1 431"
    finally:
        receiver.terminate()
        printed = "".join(receiver.communicate(timeout=60))
    assert " 413 " in printed
    return printed


def _take_webhooks(installation: Installation, token: str) -> list[Ended]:
    """Receive with and without database, process, fail to; return what was printed."""
    call = {"id": 5, "date": f"{FIRST} 12:00:00", "hook_event": "Call is processing"}
    away = replace(installation, database="postgresql://somebody:word@127.0.0.1:9/nowhere")
    printed = _receive(away, token, call, has_database=False)
    printed += _receive(installation, token, {**call, "id": 6}, has_database=True)
    assert "The database is away" in printed
    raw = installation.home / "raw" / "good" / str(FIRST.year) / f"{FIRST}.parquet"
    kept = raw.read_bytes()
    raw.write_bytes(b"damaged")
    failed = installation.run("inbox", "good", "--process")
    assert failed.code == 1
    assert "its webhooks wait on" in failed.stderr + failed.stdout
    raw.write_bytes(kept)
    words = (
        ("inbox", "good", "--process"),
        ("inbox", "good"),
        ("inbox", "good", "--state", "processed", "--json"),
        ("inbox", "good", "--replay"),
        ("history", "6"),
    )
    ended = [installation.run(*each) for each in words]
    assert [one.code for one in ended] == [0] * len(words), ended
    # A token in place of its variable's name, and a variable that is not set.
    file = installation.defs / "good" / "defs.yaml"
    right = file.read_text()
    file.write_text(right.replace("{env: GOOD_WEBHOOK_TOKEN}", token))
    ended.append(installation.run("webhooks"))
    file.write_text(right.replace("GOOD_WEBHOOK_TOKEN", token))
    ended.append(installation.run("check", "good"))
    file.write_text(right)
    unset = replace(installation, variables={**installation.variables, "GOOD_WEBHOOK_TOKEN": ""})
    ended.append(unset.run("check", "good"))
    assert "GOOD_WEBHOOK_TOKEN" in ended[-1].stdout
    return [Ended(0, printed, ""), failed, *ended]


def _handle_personal_data(installation: Installation, number: str) -> list[Ended]:
    """Hash, give out, forget and prove, each a job of Dagster; return what was printed."""
    file = installation.defs / "good" / "defs.yaml"
    right = file.read_text()
    ruled = right + "  privacy: {phones: hash, key: {env: GOOD_PRIVACY_KEY}, ips: mask}\n"
    file.write_text(ruled)
    words = (
        ("protect", "good", "--dry-run"),
        ("protect", "good"),
        ("export", number),
        ("forget", number, "--dry-run"),
        ("forget", number, "--reference", "a letter of 2026-01-12", "--json"),
        ("erasures",),
        ("erasures", "--json"),
    )
    ended = [installation.run(*each) for each in words]
    assert [one.code for one in ended] == [0] * len(words), ended
    # A key in place of its variable's name, and one that is not set.
    file.write_text(ruled.replace("GOOD_PRIVACY_KEY", installation.variables["GOOD_PRIVACY_KEY"]))
    ended.append(installation.run("protect", "good"))
    file.write_text(ruled)
    unset = replace(installation, variables={**installation.variables, "GOOD_PRIVACY_KEY": ""})
    ended += [unset.run(*each) for each in (("protect", "good"), ("forget", number))]
    assert [one.code for one in ended[len(words) :]] == [2, 1, 1], ended[len(words) :]
    file.write_text(right)
    return ended


def _kill_a_load(installation: Installation) -> str:
    """Kill a load in its middle; return what it had printed."""
    with hold(installation, "LOCK TABLE callkeeper_loads IN EXCLUSIVE MODE") as held:
        worker = installation.start_worker(FIRST, LAST, "good")
        held.wait_for_somebody()
        worker.kill()
        printed = "".join(worker.communicate(timeout=60))
    wait_for_servers_end_of_it(installation)
    return printed


def _materialize_by_dagster(installation: Installation) -> str:
    """Have Dagster's own command run assets: it logs to the terminal, and keeps what they print."""
    words = ("asset", "materialize", "-m", "callkeeper_assets.definitions", "--partition")
    process = installation.start(
        "dagster", *words, str(FIRST), "--select", "good/raw_calls,reason/raw_calls"
    )
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "RUN_FAILURE" in stderr
    return stdout + stderr


def _do_everything(installation: Installation, keys: dict[str, str]) -> str:
    """Load, fail in all ways, check, refresh; return all that was printed."""
    good = installation.load(FIRST, LAST, "good")
    assert good.code == 0, good
    failed = installation.load(FIRST, LAST, *keys)
    assert failed.code == 1
    errors = {one["source"]: bool(one["errors"]) for one in failed.document["sources"]}
    assert errors == {name: name != "good" for name in keys}
    printed = [_kill_a_load(installation), _materialize_by_dagster(installation)]
    commands = (("check",), ("refresh", "good", "refused"), ("status",), ("status", "--json"))
    ended = [good, failed, *(installation.run(*words) for words in commands)]
    # A key in place of its variable's name: a slip that is refused without showing it.
    file = installation.defs / "good" / "defs.yaml"
    right = file.read_text()
    file.write_text(right.replace("{env: GOOD_API_KEY}", keys["good"]))
    ended.append(installation.run("check", "good"))
    file.write_text(right.replace("GOOD_API_KEY", keys["good"]))
    ended.append(installation.load(FIRST, LAST, "good"))
    file.write_text(right)
    installation.variables.pop("GOOD_API_KEY")
    unset = installation.load(FIRST, LAST, "good")
    assert "GOOD_API_KEY" in unset.stderr
    printed += [one.stdout + one.stderr for one in (*ended, unset)]
    return "\n".join(printed)


def _find_newer_files(since: float) -> list[Path]:
    folders = (project_root() / name for name in _DAGSTER_FOLDERS)
    return [
        file
        for folder in folders
        for file in folder.rglob("*")
        if file.is_file() and file.stat().st_mtime >= since
    ]


@each_api
def test_no_key_is_anywhere_after_success_and_every_failure(
    installation: Installation, home: Path, postgres_server: object, api: ApiName
) -> None:
    assert postgres_server
    home.mkdir(parents=True)
    marker = home / "begun"
    marker.touch()
    # Without a hyphen, as most are: it could be the name of a variable.
    token = f"T0k{secrets.token_urlsafe(24).replace('-', '_')}"
    with run_simulator([]) as simulator, _run_echo() as echo:
        keys = _add_sources(installation, simulator, echo, token, api)
        printed = _do_everything(installation, keys)
        privacy_key = installation.variables["GOOD_PRIVACY_KEY"] = "k3Y" + secrets.token_hex(16)
        taken = []
        # Of no API.
        if IS_LONG or api == "callkeeper":
            taken += _take_webhooks(installation, token)
            taken += _handle_personal_data(installation, f"+{_NOBODYS}")
    said = "\n".join(one.stdout + one.stderr for one in taken)
    assert not Searcher([*keys.values(), token, privacy_key]).is_in(said.encode())
    assert not Searcher(keys.values()).is_in(printed.encode())
    searcher = Searcher([*keys.values(), token, privacy_key, _NOBODYS])
    assert list(searcher.search_tables(installation)) == []
    assert list(searcher.search_files(installation.home)) == []
    newer = _find_newer_files(marker.stat().st_mtime)
    assert [file for file in newer if searcher.is_in(file.read_bytes())] == []
    server_log = Path(os.environ["CALLKEEPER_TESTS_FOLDER"], "server", "postgres").resolve()
    assert not searcher.is_in((server_log / "data" / "server.log").read_bytes())
    _check_that_the_search_finds(installation, searcher, keys["good"])


def _check_that_the_search_finds(installation: Installation, searcher: Searcher, key: str) -> None:
    # What is known to be everywhere is found everywhere, compressed columns included.
    source = Searcher(["https://records.callkeeper.ru", "good__raw_calls", "callkeeper_good_api"])
    assert {"public.callkeeper_calls", "dagster.event_logs", "dagster.snapshots"} <= set(
        source.search_tables(installation)
    )
    assert "raw/good/2026/2026-01-10.parquet" in list(source.search_files(installation.home))
    with installation.connect() as connection:
        connection.execute(
            "UPDATE callkeeper_loads SET error = 'see https://a/?api_key=' || %s "
            "WHERE id = (SELECT min(id) FROM callkeeper_loads)",
            (key.upper(),),
        )
    assert list(searcher.search_tables(installation)) == ["callkeeper_internal.callkeeper_loads"]
    (installation.home / "logs" / "planted.log").write_text(f"GET /getUserInfo?api_key%3D{key}&a")
    pq.write_table(pa.table({"payload": [f"key {key}"]}), installation.home / "planted.parquet")
    assert sorted(searcher.search_files(installation.home)) == [
        "logs/planted.log",
        "planted.parquet",
    ]
