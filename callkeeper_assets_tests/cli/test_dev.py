"""`callkeeper dev`: everything starts, is kept alive and stops."""

import json
import os
import signal
import socket
import urllib.request
from pathlib import Path

import pytest

from callkeeper_assets.cli.serving import (
    WebAddress,
    find_free_port,
    find_port_problem,
    print_greeting,
)
from callkeeper_assets_tests.cli.conftest import (
    callkeeper,
    started,
    write_source,
)
from callkeeper_assets_tests.processes import arguments_of, children_of, is_alive, read_process
from callkeeper_assets_tests.waiting import wait_until

_LOCATIONS = (
    "{workspaceOrError{... on Workspace{locationEntries{loadStatus "
    "locationOrLoadError{__typename}}}}}"
)


def _ask(port: int, query: str) -> str:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/graphql",
        json.dumps({"query": query}).encode(),
        {"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return str(answer.read().decode())


def _find_child(pid: int, words: str) -> int:
    """A descendant by its arguments, or, if it is a fork of the run server, by its name."""
    return next(
        (
            child
            for child in children_of(pid, recursive=True)
            if words in arguments_of(child) or read_process(child, "comm") == f"{words}\n"
        ),
        0,
    )


@pytest.mark.e2e
@pytest.mark.usefixtures("main_office", "database")
def test_everything_starts_is_kept_alive_and_stops(
    defs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CALLKEEPER_ALERT_WEBHOOK_URL", "http://127.0.0.1:9/s3cret-hook")
    monkeypatch.setenv("HOOKED_API_KEY", "0" * 32)
    monkeypatch.setenv("HOOKED_WEBHOOK_TOKEN", "token-0123456789abcdef")
    write_source(defs, "hooked", "webhook: {token: {env: HOOKED_WEBHOOK_TOKEN}}")
    port, webhook_port = find_free_port(), find_free_port()
    options = ("--port", str(port), "--webhook-port", str(webhook_port))
    with started("dev", *options) as process:
        assert process.stdout is not None
        greeting = ""
        for line in process.stdout:
            greeting += line
            if line.startswith("Stop:"):
                break
        assert f"Dagster's UI:   http://127.0.0.1:{port}" in greeting
        assert "Sources:        hooked, main_office" in greeting
        assert "callkeeper:" not in greeting, "the password of a database of one's own"
        assert (
            f"Webhooks:       http://127.0.0.1:{webhook_port}; callkeeper check prints each "
            "source's URL"
        ) in greeting
        assert "token-0123456789abcdef" not in greeting
        assert "Alerts:         webhook-" in greeting
        assert "s3cret" not in greeting
        url = f"http://127.0.0.1:{webhook_port}/webhooks/hooked/token-0123456789abcdef"
        with urllib.request.urlopen(url, b'{"id": 1}', timeout=30) as answer:
            assert answer.status == 200
        assert "RepositoryLocation" in _ask(port, _LOCATIONS)

        second = callkeeper("dev", "--port", str(find_free_port()))
        assert second.code == 1
        assert f"callkeeper dev runs already with this home, as process {process.pid}." in (
            second.err
        )

        code_server = _find_child(process.pid, "code_server")
        assert code_server
        os.kill(code_server, signal.SIGKILL)
        wait_until(
            lambda: _find_child(process.pid, "code_server") not in {0, code_server},
            "the code server is started again",
        )
        children = children_of(process.pid, recursive=True)
        assert len(children) == 6
        assert _find_child(process.pid, "cli.main alerts") in children
        assert _find_child(process.pid, "webhooks --host 127.0.0.1") in children
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "The code server ended (signal 9); it is started again in 1 s." in said
    assert said.endswith("Stopped.\n")
    assert not any(is_alive(child) for child in children)
    [entry] = [
        entry
        # The daemon may have looked at it: it is no call.
        for state in ("new", "rejected")
        for entry in callkeeper("inbox", "--state", state, "--json").document()["entries"]
    ]
    assert (entry["source"], entry["call_id"]) == ("hooked", 1)


def test_without_a_source_of_webhooks_the_greeting_has_no_address_for_them(
    database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert database
    print_greeting(WebAddress("127.0.0.1", 3000), None, database, ["Sources:        main_office"])
    said = capsys.readouterr().out
    assert "Dagster's UI:   http://127.0.0.1:3000\n" in said
    assert "Webhooks" not in said


@pytest.mark.usefixtures("main_office")
def test_a_taken_webhook_port_is_said_with_another_one(defs: Path) -> None:
    write_source(defs, "hooked", "webhook: {token: {env: HOOKED_WEBHOOK_TOKEN}}")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        options = ("--port", str(find_free_port()), "--webhook-port", str(port))
        done = callkeeper("dev", *options)
    assert done.code == 1
    assert f"127.0.0.1:{port} cannot be listened at: Address already in use." in done.err
    assert f"callkeeper dev --webhook-port {port + 1}" in done.err


@pytest.mark.e2e
@pytest.mark.usefixtures("main_office")
def test_nothing_outlives_a_killed_command(home: Path) -> None:
    """The embedded database included: its last user stops it."""
    with started("dev", "--port", str(find_free_port())) as process:
        wait_until(lambda: _find_child(process.pid, "daemon"), "the daemon starts")
        children = children_of(process.pid, recursive=True)
        assert (home / "postgres" / "data" / "postmaster.pid").exists()
        process.kill()
    wait_until(lambda: not any(is_alive(child) for child in children), "children end")
    wait_until(
        lambda: not (home / "postgres" / "data" / "postmaster.pid").exists(), "PostgreSQL ends"
    )


@pytest.mark.usefixtures("main_office")
def test_a_taken_port_is_said_with_another_one(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = callkeeper("dev", "--port", str(port))
    assert done.code == 1
    assert f"127.0.0.1:{port} cannot be listened at: Address already in use." in done.err
    assert f"callkeeper dev --port {port + 1}" in done.err
    assert not (home / "postgres").exists()


def test_a_free_port_has_no_problem() -> None:
    assert find_port_problem(WebAddress("127.0.0.1", find_free_port())) is None
