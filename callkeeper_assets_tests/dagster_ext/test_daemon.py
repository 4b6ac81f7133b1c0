"""One daemon for a database; Dagster's own is started by the tests of `callkeeper dev`."""

import os
import signal
import socket
import threading

import psycopg
import pytest

from callkeeper_assets.dagster_ext.daemon import SecondDaemonError, find_daemon, held_alone
from callkeeper_assets.postgres.locks import DAEMON_LOCK, Lock
from callkeeper_assets_tests.waiting import wait_until

_END = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE application_name LIKE 'callkeeper daemon%' AND datname = current_database()
"""


def end_connections(url: str) -> None:
    """Cut the daemon off, as a restart of the server does."""
    with psycopg.connect(url, autocommit=True) as connection:
        assert connection.execute(_END).rowcount == 1


def test_a_second_daemon_is_refused_and_told_where_the_first_is(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callkeeper_assets.dagster_ext.daemon._PATIENCE_SEC", 0.2)
    assert find_daemon(database) is None
    with held_alone(database):
        with pytest.raises(SecondDaemonError) as refused, held_alone(database):
            pass
        assert f"process {os.getpid()} on {socket.gethostname()}" in str(refused.value)
    assert find_daemon(database) is None


def test_a_daemon_that_was_cut_off_is_the_only_one_again(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callkeeper_assets.dagster_ext.daemon._BETWEEN_LOOKS_SEC", 0.05)
    with held_alone(database):
        end_connections(database)
        wait_until(lambda: find_daemon(database), "it holds its lock again")


def test_a_daemon_whose_place_was_taken_ends(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callkeeper_assets.dagster_ext.daemon._PATIENCE_SEC", 0.2)
    monkeypatch.setattr("callkeeper_assets.dagster_ext.daemon._BETWEEN_LOOKS_SEC", 0.5)
    interrupted = threading.Event()
    before = signal.signal(signal.SIGINT, lambda *_: interrupted.set())
    try:
        with held_alone(database), Lock(database, "another") as other:
            end_connections(database)
            wait_until(lambda: other.attempt(DAEMON_LOCK), "another has it")
            wait_until(interrupted.is_set, "it is interrupted")
    finally:
        signal.signal(signal.SIGINT, before)
