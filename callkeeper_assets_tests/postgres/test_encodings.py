"""Texts are UTF-8 on every connection, whatever the shell, the role or the database say."""

import asyncio
import uuid
from collections.abc import Iterator
from urllib.parse import urlsplit

import psycopg
import pytest
import sqlalchemy

from callkeeper_assets.dagster_ext.storage import storage_url
from callkeeper_assets.postgres import DatabaseError, connect
from callkeeper_assets.warehouse.session import Session
from callkeeper_assets.webhooks.inbox import Connections
from callkeeper_assets_tests.warehouse.raw_days import DAY, call, day_of, load_all

TEXT = "окна, ёлка — «Ünïcödé» 🙂"


@pytest.fixture(params=["shell", "role", "database"])
def russian(
    request: pytest.FixtureRequest, database: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """A database that speaks WIN1251 to whoever does not ask for another encoding."""
    parts, role = urlsplit(database), f"role_{uuid.uuid4().hex}"
    url = parts._replace(netloc=f"{role}:secret@{parts.netloc.rpartition('@')[2]}").geturl()
    with connect(database, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN SUPERUSER PASSWORD 'secret'")
        if request.param != "shell":
            what = f"ROLE {role}" if request.param == "role" else f'DATABASE "{parts.path[1:]}"'
            connection.execute(f"ALTER {what} SET client_encoding = 'WIN1251'")
    if request.param == "shell":
        monkeypatch.setenv("PGCLIENTENCODING", "WIN1251")
    with psycopg.connect(url) as connection:
        assert connection.info.encoding == "cp1251"
    yield url
    with connect(database, autocommit=True) as connection:
        connection.execute(f"REASSIGN OWNED BY {role} TO CURRENT_USER")
        connection.execute(f"DROP OWNED BY {role}")
        connection.execute(f"DROP ROLE {role}")


def test_a_loaded_call_has_its_texts(russian: str) -> None:
    load_all(russian, [day_of(DAY, [call(1, tags=TEXT)])])
    with Session(russian) as session:
        read = session.query("SELECT tags, length('окна') AS letters FROM callkeeper_calls")
    assert read.to_pylist() == [{"tags": TEXT, "letters": 4}]


def test_the_receiver_speaks_utf_8(russian: str) -> None:
    async def read() -> object:
        connections = await Connections.open(russian, 1)
        async with connections.take() as connection:
            cursor = await connection.execute("SELECT %s::text", (TEXT,))
            found = await cursor.fetchone()
        await connections.give_up()
        return found

    assert asyncio.run(read()) == (TEXT,)


def test_dagster_s_storage_speaks_utf_8(russian: str) -> None:
    engine = sqlalchemy.create_engine(storage_url(russian))
    with engine.connect() as connection:
        assert connection.scalar(sqlalchemy.text("SHOW client_encoding")) == "UTF8"
    engine.dispose()


@pytest.mark.parametrize("encoding", ["WIN1251", "SQL_ASCII", "LATIN1"])
def test_a_database_that_cannot_hold_every_text_is_refused_with_the_remedy(
    database: str, encoding: str
) -> None:
    name = f"test_{uuid.uuid4().hex}"
    with connect(database, autocommit=True) as connection:
        connection.execute(
            f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0"
        )
    with pytest.raises(DatabaseError) as caught:
        connect(f"{database.rpartition('/')[0]}/{name}")
    assert f"the encoding {encoding}, which cannot hold every text" in str(caught.value)
    remedy = str(caught.value).partition("CALLKEEPER_DATABASE_URL: ")[2]
    made = f"made_{uuid.uuid4().hex}"
    with connect(database, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name}")
        connection.execute(remedy.replace(" callkeeper ", f" {made} "))
    connect(f"{database.rpartition('/')[0]}/{made}").close()
    with connect(database, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {made}")
