"""A change of a table waits for who has it open; nobody else waits behind it for long."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest

from callkeeper_assets.postgres import connect
from callkeeper_assets.warehouse import migrate
from callkeeper_assets.warehouse.migrate import HEAD, VERSION_TABLE, ensure_schema
from callkeeper_assets.warehouse.records import UnavailableError
from callkeeper_assets_tests.reports.building import build_all, fetch
from callkeeper_assets_tests.reports.test_structure import DAYS, report


@contextmanager
def _reading(database: str, table: str) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """A BI tool that leaves its transaction open."""
    with psycopg.connect(database, application_name="a dashboard") as reader:
        reader.execute(f"SELECT 1 FROM {table}".encode())
        yield reader


def _measure_reads(database: str, table: str, until: threading.Event) -> float:
    """Return how long the longest of another reader's statements took, in seconds."""
    longest = 0.0
    with connect(database, autocommit=True) as connection:
        while not until.is_set():
            began = time.monotonic()
            connection.execute(f"SELECT count(*) FROM {table}".encode())
            longest = max(longest, time.monotonic() - began)
            time.sleep(0.02)
    return longest


def test_a_new_column_waits_for_an_open_transaction_and_keeps_no_other_reader_waiting(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "_PAUSE_SEC", 0.5, raising=False)
    build_all(database, DAYS, report())
    ended = threading.Event()
    with ThreadPoolExecutor(2) as pool, _reading(database, "talks") as reader:
        built = pool.submit(build_all, database, DAYS, report(city=("client_city", "text")))
        longest = pool.submit(_measure_reads, database, "talks", ended)
        time.sleep(4)
        assert not built.done()
        reader.rollback()
        try:
            built.result()
        finally:
            ended.set()
        assert longest.result() < 2.5
    assert fetch(database, "SELECT count(city), count(*) FROM talks") == [(0, 5)]


def test_a_migration_waits_likewise(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrate, "_PAUSE_SEC", 0.5, raising=False)
    _go_back_to_0007(database)
    ended = threading.Event()
    with ThreadPoolExecutor(2) as pool, _reading(database, "callkeeper_erasures") as reader:
        migrated = pool.submit(ensure_schema, database)
        longest = pool.submit(_measure_reads, database, "callkeeper_erasures", ended)
        time.sleep(4)
        assert not migrated.done()
        reader.rollback()
        try:
            migrated.result()
        finally:
            ended.set()
        assert longest.result() < 2.5
    assert fetch(database, f"SELECT version_num FROM {VERSION_TABLE}") == [(HEAD,)]


def test_who_has_a_table_open_for_minutes_is_named(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "_PAUSE_SEC", 0.0)
    monkeypatch.setattr(migrate, "_ATTEMPTS", 2)
    build_all(database, DAYS, report())
    with _reading(database, "talks") as reader:
        with pytest.raises(UnavailableError) as caught:
            build_all(database, DAYS, report(city=("client_city", "text")))
        holder = f"process {reader.info.backend_pid} of {reader.info.user} (a dashboard) since"
    assert "PostgreSQL did not change talks: others have" in str(caught.value)
    assert holder in str(caught.value)
    build_all(database, DAYS, report(city=("client_city", "text")))


def _go_back_to_0007(database: str) -> None:
    """Take from a new database what the migrations since have added."""
    ensure_schema(database)
    with connect(database, autocommit=True) as connection:
        connection.execute("DROP INDEX callkeeper_calls_facts_dates")
        connection.execute(
            "DROP TABLE callkeeper_keys, callkeeper_alerts, callkeeper_alert_messages,"
            " callkeeper_receivers"
        )
        connection.execute(
            "ALTER TABLE callkeeper_erasures DROP COLUMN reference, DROP COLUMN number_hash,"
            " DROP COLUMN verified_at, DROP COLUMN left_over"
        )
        connection.execute(f"UPDATE {VERSION_TABLE} SET version_num = '0007'".encode())
