"""Roles with fewer rights: what each can do, by the program's own code, and what it cannot."""

import asyncio
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from urllib.parse import urlsplit, urlunsplit

import dagster as dg
import psycopg
import pytest

from callkeeper_assets.dagster_ext.observed import read_dagster_state
from callkeeper_assets.dagster_ext.storage import CallKeeperStorage
from callkeeper_assets.postgres import connect
from callkeeper_assets.postgres.errors import DatabaseError
from callkeeper_assets.warehouse.grants import Purpose, grant
from callkeeper_assets.webhooks.inbox import Inbox
from callkeeper_assets.webhooks.payload import read_delivery
from callkeeper_assets_tests.cli.conftest import callkeeper
from callkeeper_assets_tests.templates import Template, from_nothing

# Of a table that is the purpose's own, and one of each kind that is not.
_PAYLOADS = "SELECT body FROM callkeeper_internal.callkeeper_webhooks"
_CALLS = "SELECT count(*) FROM callkeeper_calls"
_EVENTS = "SELECT count(*) FROM dagster.event_logs"
_FORGOTTEN = "SELECT count(*) FROM callkeeper_internal.callkeeper_erasures"
_FORBIDDEN = {
    "bi": (
        _PAYLOADS,
        _EVENTS,
        _FORGOTTEN,
        "DELETE FROM callkeeper_calls",
        "CREATE TABLE mine (id int)",
        "SELECT count(*) FROM callkeeper_internal.callkeeper_loads",
    ),
    "receiver": (
        _PAYLOADS,
        _CALLS,
        "SELECT count(*) FROM звонки",
        _EVENTS,
        "DELETE FROM callkeeper_internal.callkeeper_webhooks",
        "UPDATE callkeeper_internal.callkeeper_webhooks SET body = ''",
        "CREATE TABLE mine (id int)",
    ),
    "dagster": (_PAYLOADS, _CALLS, _FORGOTTEN, "CREATE TABLE dagster.mine (id int)"),
    "metrics": (_PAYLOADS, _CALLS, _EVENTS, "DELETE FROM dagster.runs"),
}

MakeRole = Callable[[Purpose], str]


@pytest.fixture(scope="session")
def template() -> Template:
    """Dagster's tables are granted, too."""
    return Template.INSTALLATION


@pytest.fixture
def make_role(database: str) -> Iterator[MakeRole]:
    """Make a role, grant it what a purpose needs, and return the database's URL as that role."""
    made: list[str] = []

    def make(purpose: Purpose) -> str:
        name = f"{purpose}_{uuid.uuid4().hex[:8]}"
        made.append(name)
        with connect(database, autocommit=True) as connection:
            connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'a password'".encode())
        grant(database, name, purpose)
        parts = urlsplit(database)
        place = parts.netloc.rpartition("@")[2]
        return urlunsplit(parts._replace(netloc=f"{name}:a%20password@{place}"))

    yield make
    with connect(database, autocommit=True) as connection:
        for name in made:
            connection.execute(f"DROP OWNED BY {name}; DROP ROLE {name}".encode())


def _use_as_bi(url: str) -> None:
    with connect(url) as connection:
        for table in ("callkeeper_calls", "general_traffic", "calls_by_city", "calls", "звонки"):
            connection.execute(f"SELECT count(*) FROM {table}".encode())


def _use_as_receiver(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLKEEPER_DATABASE_URL", url)
    deliveries = [
        read_delivery(
            "application/json",
            b"",
            b'{"id": 7}',
            {},
            source="office",
            receipt=uuid.uuid4().bytes,
            received_at=datetime.now(UTC),
        )
        for _ in range(2)
    ]

    async def store() -> list[int]:
        inbox = Inbox()
        await inbox.connect()
        repeats = [await inbox.store([one]) for one in deliveries]
        await inbox.ping()
        await inbox.close()
        return repeats

    assert asyncio.run(store()) == [0, 1]


def _use_as_dagster(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLKEEPER_DATABASE_URL", url)
    storage = CallKeeperStorage.from_config_value(None, {})
    run = dg.DagsterRun("job", run_id=str(uuid.uuid4()))
    storage.run_storage.add_run(run)
    assert storage.run_storage.has_run(run.run_id)
    storage.run_storage.delete_run(run.run_id)
    for part in (storage.run_storage, storage.event_log_storage, storage.schedule_storage):
        part.dispose()


def _use_as_metrics(url: str) -> None:
    with connect(url) as connection:
        read_dagster_state(connection)
        connection.execute("SELECT max(day) FROM callkeeper_days")


def test_each_role_can_do_its_work_and_nothing_else(
    database: str, make_role: MakeRole, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connect(database, autocommit=True) as connection:
        connection.execute("CREATE TABLE public.calls_by_city (city text)")
        connection.execute(
            "INSERT INTO callkeeper_report_tables VALUES ('calls_by_city', 'office/city', now())"
        )
    urls: dict[Purpose, str] = {
        "bi": make_role("bi"),
        "receiver": make_role("receiver"),
        "dagster": make_role("dagster"),
        "metrics": make_role("metrics"),
    }
    _use_as_bi(urls["bi"])
    _use_as_receiver(urls["receiver"], monkeypatch)
    _use_as_dagster(urls["dagster"], monkeypatch)
    _use_as_metrics(urls["metrics"])
    for purpose, url in urls.items():
        for statement in _FORBIDDEN[purpose]:
            with (
                psycopg.connect(url, autocommit=True) as refused,
                pytest.raises(psycopg.errors.InsufficientPrivilege),
            ):
                refused.execute(statement.encode())


def test_another_purpose_takes_away_what_the_one_before_gave(
    database: str, make_role: MakeRole
) -> None:
    url = make_role("receiver")
    name = urlsplit(url).username or ""
    grant(database, name, "bi")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_CALLS)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT id FROM callkeeper_internal.callkeeper_webhooks")


def test_a_role_that_no_grant_would_bound_is_refused(database: str) -> None:
    owner = urlsplit(database).username or ""
    with pytest.raises(DatabaseError, match=f"'{owner}' is a superuser"):
        grant(database, owner, "bi")
    done = callkeeper("grant", "nobody_there")
    assert done.code == 1
    assert 'CREATE ROLE "nobody_there" LOGIN PASSWORD' in done.err
    assert callkeeper("grant", "nobody_there", "--for", "everything").code == 2


@from_nothing
def test_the_owner_of_a_database_who_is_nothing_else_makes_and_loads_the_tables(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loader needs no more: no superuser, no making of roles or databases."""
    name = f"loader_{uuid.uuid4().hex[:8]}"
    parts = urlsplit(database)
    with connect(database, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'secret'".encode())
        connection.execute(f"ALTER DATABASE {parts.path[1:]} OWNER TO {name}".encode())
    place = parts.netloc.rpartition("@")[2]
    url = urlunsplit(parts._replace(netloc=f"{name}:secret@{place}"))
    try:
        monkeypatch.setenv("CALLKEEPER_DATABASE_URL", url)
        # Makes and writes the tables.
        _use_as_receiver(url, monkeypatch)
        storage = CallKeeperStorage.from_config_value(None, {})
        for part in (storage.run_storage, storage.event_log_storage, storage.schedule_storage):
            part.dispose()
        with connect(url, autocommit=True) as connection:
            for statement in (
                "CREATE ROLE other",
                "CREATE DATABASE other",
                "SELECT * FROM pg_authid",
            ):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(statement.encode())
    finally:
        with connect(database, autocommit=True) as connection:
            connection.execute(
                f"REASSIGN OWNED BY {name} TO CURRENT_USER; DROP OWNED BY {name};"
                f"DROP ROLE {name}".encode()
            )
