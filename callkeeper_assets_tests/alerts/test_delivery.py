"""Every alert once: receivers away, processes killed while they send, several at once."""

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from callkeeper_assets.alerts.settings import read_settings
from callkeeper_assets.alerts.watching import Watcher
from callkeeper_assets.postgres import connect
from callkeeper_assets.warehouse.loader import log_failure
from callkeeper_assets_tests.alerts.conftest import ACCOUNT, Clock, know_key, write_source
from callkeeper_assets_tests.alerts.receivers import HttpReceiver, find_port, run_receiver
from callkeeper_assets_tests.waiting import wait_until
from callkeeper_assets_tests.warm import WarmPopen

_FAILED = ("began", "load_failed", "main_office")


@pytest.fixture(autouse=True)
def told(
    receiver: HttpReceiver, defs: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> HttpReceiver:
    """The receiver, which is told by JSON."""
    assert defs.is_dir()
    know_key(database)
    monkeypatch.setenv("CALLKEEPER_ALERT_WEBHOOK_URL", receiver.url)
    return receiver


def _fail(database: str) -> None:
    log_failure(database, ACCOUNT, [date(2026, 3, 2)], "run 1", "HTTP 500.")


def _ask(database: str, statement: str) -> list[tuple[Any, ...]]:
    with connect(database) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def _make_due(database: str) -> None:
    _ask(database, "UPDATE callkeeper_alert_messages SET due_at = now()")


@contextmanager
def _watching(*options: str) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", "callkeeper_assets.cli.main", "alerts", *options]
    pipes: Any = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "text": True}
    with WarmPopen(command, stderr=subprocess.STDOUT, **pipes) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def test_a_receiver_that_is_away_gets_all_of_it_in_order_when_it_is_back(
    database: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = find_port()
    monkeypatch.setenv("CALLKEEPER_ALERT_WEBHOOK_URL", f"http://127.0.0.1:{port}/hook/token")
    watcher = Watcher(read_settings(), clock)
    _fail(database)
    watcher.look()
    _ask(database, "DELETE FROM callkeeper_loads")
    clock.go_on(minutes=11)
    # By another process: the one before was stopped.
    Watcher(read_settings(), clock).look()
    rows = _ask(
        database, "SELECT state, attempts, error FROM callkeeper_alert_messages ORDER BY id"
    )
    assert [row[:2] for row in rows] == [("waiting", 1), ("waiting", 0)]
    assert "no connection" in rows[0][2]
    with run_receiver(port) as back:
        for status, said in ((0, "no connection"), (500, "HTTP 500"), (429, "HTTP 429")):
            back.status = status
            _make_due(database)
            watcher.look()
            (error,) = _ask(database, "SELECT error FROM callkeeper_alert_messages ORDER BY id")[0]
            assert said in error
        back.status = 200
        for _ in range(3):
            _make_due(database)
            watcher.look()
        assert back.list_told() == [_FAILED, ("ended", *_FAILED[1:])]
        assert len({post.key for post in back.posts}) == 2


def test_who_takes_nothing_for_three_days_is_given_up_and_holds_up_nobody(
    database: str, told: HttpReceiver, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CALLKEEPER_ALERT_URLS", f"json://127.0.0.1:{find_port()}/")
    watcher = Watcher(read_settings(), clock)
    _fail(database)
    watcher.look()
    assert told.list_told() == [_FAILED]
    _ask(
        database,
        "UPDATE callkeeper_alert_messages SET created_at = created_at - interval '4 days', "
        "due_at = now() WHERE state <> 'sent'",
    )
    watcher.look()
    states = Counter(_ask(database, "SELECT state FROM callkeeper_alert_messages"))
    assert states == {("sent",): 1, ("given_up",): 1}


def test_a_pause_after_a_failure_grows_to_a_quarter_of_an_hour(
    database: str, told: HttpReceiver, clock: Clock
) -> None:
    told.status = 500
    watcher = Watcher(read_settings(), clock)
    _fail(database)
    watcher.look()
    pauses = []
    for _ in range(9):
        ((pause,),) = _ask(
            database,
            "SELECT extract(epoch FROM due_at - now())::int FROM callkeeper_alert_messages",
        )
        pauses.append(pause)
        _make_due(database)
        watcher.look()
    assert [round(pause / 15) for pause in pauses[:6]] == [1, 2, 4, 8, 16, 32]
    assert max(pauses) <= 900


@pytest.mark.e2e
def test_a_process_that_is_killed_while_it_sends_is_known_by_its_key(
    database: str, told: HttpReceiver
) -> None:
    """Whether the receiver has it is not known: it comes again, says so, and has the same key."""
    _fail(database)
    told.gate.clear()
    with _watching("--interval", "1") as first:
        wait_until(lambda: told.posts, "it is sent")
        os.kill(first.pid, signal.SIGKILL)
    told.gate.set()
    assert _ask(database, "SELECT state FROM callkeeper_alert_messages") == [("sending",)]
    with _watching("--once") as second:
        assert second.wait(60) == 0
    assert [post.key for post in told.posts] == [told.posts[0].key] * 2
    assert "Perhaps for the second time" in told.posts[1].document["text"]
    with _watching("--once") as third:
        assert third.wait(60) == 0
    assert len(told.posts) == 2


@pytest.mark.e2e
def test_a_process_that_is_stopped_while_it_sends_notes_it_first(
    database: str, told: HttpReceiver
) -> None:
    _fail(database)
    told.gate.clear()
    with _watching("--interval", "1") as process:
        wait_until(lambda: told.posts, "it is sent")
        process.send_signal(signal.SIGTERM)
        told.gate.set()
        assert process.wait(30) == 0
    assert _ask(database, "SELECT state FROM callkeeper_alert_messages") == [("sent",)]
    assert len(told.posts) == 1


@pytest.mark.e2e
def test_a_process_that_is_killed_before_or_after_it_sends_tells_all_once(
    database: str, defs: Path, told: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed again and again, at any moment; what differs in its key was told once."""
    names = [f"shop_{number}" for number in range(6)]
    for name in names:
        log_failure(
            database,
            ACCOUNT.__class__(name, name, ACCOUNT.time_zone),
            [date(2026, 3, 2)],
            f"run {name}",
            "HTTP 500.",
        )
    for number, name in enumerate(names):
        monkeypatch.setenv(f"{name.upper()}_API_KEY", "0" * 32)
        write_source(defs, name)
        with _watching("--interval", "1") as process:
            wait_until(
                lambda: len(_ask(database, "SELECT id FROM callkeeper_alerts")) > number,  # noqa: B023
                "it is found",
            )
            os.kill(process.pid, signal.SIGKILL)
    with _watching("--once") as process:
        assert process.wait(60) == 0
    by_key = {post.key: post for post in told.posts}
    told_of = Counter(one["subject"] for post in by_key.values() for one in post.document["alerts"])
    assert told_of == dict.fromkeys(names, 1)
    assert set(_ask(database, "SELECT state FROM callkeeper_alert_messages")) == {("sent",)}


def test_several_at_once_tell_once(database: str, defs: Path, told: HttpReceiver) -> None:
    for number in range(4):
        write_source(defs, f"shop_{number}", "tabels: []")
    _fail(database)
    clocks = Clock()
    watchers = [Watcher(read_settings(), clocks) for _ in range(4)]
    for _ in range(3):
        with ThreadPoolExecutor(4) as executor:
            list(executor.map(lambda one: one.look(), watchers))
        clocks.go_on(minutes=4)
    began = Counter(subject for state, _, subject in told.list_told() if state == "began")
    assert began == dict.fromkeys(["main_office", *(f"shop_{n}" for n in range(4))], 1)
    assert len({post.key for post in told.posts}) == len(told.posts)


def test_a_database_that_goes_between_delivery_and_note_doubles_nothing(
    database: str, told: HttpReceiver, clock: Clock
) -> None:
    """The process that has delivered it knows that it has."""
    _fail(database)
    watcher = Watcher(read_settings(), clock)
    told.gate.clear()
    with ThreadPoolExecutor(1) as executor:
        looking = executor.submit(watcher.look)
        wait_until(lambda: told.posts, "it is sent")
        _ask(
            database,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND state = 'idle in transaction'",
        )
        told.gate.set()
        looking.result(60)
    assert _ask(database, "SELECT state FROM callkeeper_alert_messages") == [("sending",)]
    watcher.look()
    assert _ask(database, "SELECT state FROM callkeeper_alert_messages") == [("sent",)]
    assert len(told.posts) == 1
