"""Each connection has the settings that it needs, whatever an administrator gave the role."""

import asyncio
import os
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import dagster as dg
import psycopg
import pytest

from callkeeper_assets.home import set_dagster_home
from callkeeper_assets.postgres import DatabaseError, build_conninfo, connect
from callkeeper_assets.reports.definition import Report
from callkeeper_assets.warehouse.records import Account
from callkeeper_assets.warehouse.session import Session
from callkeeper_assets.webhooks.inbox import Connections
from callkeeper_assets_tests.other_servers import serve
from callkeeper_assets_tests.postgres.administrator import FIRST_VERSIONS, SETTINGS, role_with
from callkeeper_assets_tests.reports.building import build_all
from callkeeper_assets_tests.templates import from_nothing
from callkeeper_assets_tests.warehouse.raw_days import DAY, MAIN, call, day_of

NEEDED: Final = {
    "quote_all_identifiers": "off",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "TimeZone": "UTC",
    "extra_float_digits": "1",
    "array_nulls": "on",
    "transform_null_equals": "off",
    "exit_on_error": "off",
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "transaction_timeout": "0",
    "standard_conforming_strings": "on",
    "search_path": "callkeeper_internal, public",
}
_OWN: Final = {
    # Shorter than a sender's patience.
    "receiver": {"statement_timeout": "4s", "lock_timeout": "100ms"},
    "dagster": {"search_path": "dagster"},
}


def _read_by_psycopg(url: str, names: list[str]) -> dict[str, str]:
    with connect(url) as connection:
        rows = connection.execute(
            "SELECT n, current_setting(n) FROM unnest(%s::text[]) AS t (n)", (names,)
        ).fetchall()
    return {str(name): str(value) for name, value in rows}


def _read_by_adbc(url: str, names: list[str]) -> dict[str, str]:
    with Session(url) as session:
        return {
            name: session.query(f"SELECT current_setting('{name}') AS it").to_pylist()[0]["it"]
            for name in names
        }


def _read_by_the_receiver(url: str, names: list[str]) -> dict[str, str]:
    async def read() -> dict[str, str]:
        connections = await Connections.open(url, 1)
        async with connections.take() as connection:
            cursor = await connection.execute(
                "SELECT n, current_setting(n) FROM unnest(%s::text[]) AS t (n)", (names,)
            )
            rows = await cursor.fetchall()
        await connections.give_up()
        return dict(rows)

    return asyncio.run(read())


def _read_by_dagster(url: str, names: list[str]) -> dict[str, str]:
    os.environ["CALLKEEPER_DATABASE_URL"] = url
    set_dagster_home()
    with dg.DagsterInstance.get() as instance:
        found: list[dict[str, str]] = []
        run_storage: Any = instance.run_storage
        event_log_storage: Any = instance.event_log_storage
        schedule_storage: Any = instance.schedule_storage
        for connecting in (
            run_storage.connect,
            event_log_storage._connect,
            schedule_storage.connect,
        ):
            with connecting() as connection:
                shown = {name: connection.exec_driver_sql(f"SHOW {name}") for name in names}
                found.append({name: str(row.scalar_one()) for name, row in shown.items()})
    assert found[0] == found[1] == found[2]
    return found[0]


READERS: Final[dict[str, Callable[[str, list[str]], dict[str, str]]]] = {
    "psycopg": _read_by_psycopg,
    "adbc": _read_by_adbc,
    "receiver": _read_by_the_receiver,
    "dagster": _read_by_dagster,
}


@pytest.fixture(scope="module")
def server_16() -> Iterator[str]:
    """A PostgreSQL that does not know every setting."""
    folder = Path(os.environ["CALLKEEPER_TESTS_FOLDER"]) / f"server-16-{uuid.uuid4().hex}"
    with serve(16, folder) as url:
        yield url


@pytest.fixture(params=[18, 16])
def any_database(request: pytest.FixtureRequest) -> Iterator[str]:
    """A database of the newest version, and of one that has fewer settings."""
    if request.param == 18:
        yield request.getfixturevalue("database")
        return
    server, name = request.getfixturevalue("server_16"), f"test_{uuid.uuid4().hex}"
    monkeypatch = request.getfixturevalue("monkeypatch")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
    url = f"{server.rpartition('/')[0]}/{name}"
    monkeypatch.setenv("CALLKEEPER_DATABASE_URL", url)
    yield url
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


@pytest.mark.parametrize("reader", READERS)
def test_every_connection_sets_for_itself_what_it_needs(any_database: str, reader: str) -> None:
    with connect(any_database) as connection:
        version = connection.info.server_version
    names = [name for name in SETTINGS if FIRST_VERSIONS.get(name, 0) <= version]
    with role_with(any_database, SETTINGS) as url:
        own = _OWN.get(reader, {})
        assert READERS[reader](url, names) == {name: NEEDED[name] for name in names} | own


@from_nothing
def test_reports_side_by_side_do_not_fail_each_other_where_serializable_is_the_rule(
    database: str,
) -> None:
    """Locks keep apart what must be; PostgreSQL would end one of two that touch the same pages."""
    report = Report("as_json", fields=(("id", "id"),))
    accounts = [replace(MAIN, name=f"source_{n}") for n in range(4)]
    days = [
        day_of(DAY + timedelta(days=n), [call(100 * n + m) for m in range(20)]) for n in range(10)
    ]
    barrier = threading.Barrier(len(accounts))
    with role_with(database, {"default_transaction_isolation": "serializable"}) as url:
        for account in accounts:
            build_all(url, days[:1], report, account=account)

        def work(account: Account) -> int:
            barrier.wait()
            return sum(len(build_all(url, [day], report, account=account)) for day in days)

        with ThreadPoolExecutor() as pool:
            assert list(pool.map(work, accounts)) == [len(days)] * len(accounts)


def test_what_the_url_and_the_shell_ask_for_stays(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGOPTIONS", "-c work_mem=5MB -c statement_timeout=9s")
    names = ["work_mem", "statement_timeout"]
    assert _read_by_psycopg(database, names) == {"work_mem": "5MB", "statement_timeout": "0"}
    given = f"{database}?options={quote('-c work_mem=7MB')}"
    for reader in (_read_by_psycopg, _read_by_adbc, _read_by_dagster):
        assert reader(given, names) == {"work_mem": "7MB", "statement_timeout": "0"}


def test_a_connection_s_patience_is_the_url_s(database: str) -> None:
    assert "connect_timeout=10" in build_conninfo(database)
    assert "connect_timeout=3" in build_conninfo(f"{database}?connect_timeout=3")


def test_a_url_with_what_libpq_does_not_know_is_refused_in_plain_words() -> None:
    """Whoever asks: it ended the server that forks runs by a traceback."""
    with pytest.raises(DatabaseError, match=r"h/d.*sslmod"):
        build_conninfo("postgresql://u:secret@h/d?sslmod=require")


@pytest.mark.usefixtures("home")
def test_a_read_only_role_is_reported_at_the_first_use(database: str) -> None:
    """It is left as it is: providers set it when a disk is nearly full."""
    with role_with(database, {"default_transaction_read_only": "on"}) as url:
        connect(url).close()
        with pytest.raises(DatabaseError, match=r"takes no writing.*disk.*RESET default_transacti"):
            _read_by_dagster(url, [])
