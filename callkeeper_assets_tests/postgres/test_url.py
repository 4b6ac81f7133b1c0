"""Which database is used, and what is said of one that cannot be; never its password."""

import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import quote, urlsplit

import pytest

from callkeeper_assets.postgres import (
    DatabaseError,
    EmbeddedPostgres,
    check_version,
    connect,
    database_url,
    describe,
    is_embedded,
    normalise_url,
)
from callkeeper_assets_tests.postgres.conftest import is_running


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2"])
def test_every_common_spelling_of_the_scheme_is_understood(scheme: str) -> None:
    assert normalise_url(f"{scheme}://u:p@h:5433/d?sslmode=require") == (
        "postgresql://u:p@h:5433/d?sslmode=require"
    )


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://u:secret@h/d", r"begins with 'mysql'"),
        ("host=h password=secret dbname=d", r"begins with 'no scheme'"),
        ("postgresql://u:secret@h:abc/d", r"port is not a number"),
        ("postgresql://u:se/cret@h/d", r"port is not a number.*%2F"),
        ("postgresql://u:secret@h", r"names no database: postgresql://u@h\. "),
    ],
)
def test_a_url_that_is_not_postgresqls_is_refused_with_the_right_form(
    monkeypatch: pytest.MonkeyPatch, url: str, said: str
) -> None:
    monkeypatch.setenv("CALLKEEPER_DATABASE_URL", url)
    with pytest.raises(DatabaseError, match=said) as failure:
        database_url()
    assert "secret" not in str(failure.value)


def test_a_description_has_everything_but_the_password() -> None:
    url = "postgresql://someone:p%40ss@db.example:5433/calls?sslmode=require&password=p"
    assert describe(url) == "postgresql://someone@db.example:5433/calls"


def test_an_empty_variable_means_the_embedded_database(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CALLKEEPER_DATABASE_URL", "")
    assert is_embedded()
    url = database_url()
    assert url == database_url()
    connect().close()
    server = EmbeddedPostgres(home)
    assert server.start() == url
    server.stop()
    assert is_running(home), "this process uses it until its end"


def test_an_unreachable_server_is_named_with_host_port_and_user() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    url = f"postgresql://someone:secret@127.0.0.1:{port}/calls"
    with pytest.raises(DatabaseError) as failure:
        connect(url)
    text = str(failure.value)
    assert text.startswith(
        f"No connection to the database postgresql://someone@127.0.0.1:{port}/calls: "
    )
    assert "Connection refused" in text
    assert text.endswith("Check that the server runs, and the host and port in the URL.")
    assert "secret" not in text


def test_a_wrong_password_and_a_missing_database_are_told_apart(database: str) -> None:
    password = urlsplit(database).password or ""
    with pytest.raises(DatabaseError, match=r"Check the user and the password") as failure:
        connect(database.replace(password, quote("wrong@1")))
    assert "wrong" not in str(failure.value)
    with pytest.raises(DatabaseError, match=r'"nowhere" does not exist.*Create it') as failure:
        connect(database.rpartition("/")[0] + "/nowhere")
    assert password not in str(failure.value)


def test_a_server_older_than_15_is_refused_with_its_version() -> None:
    info = SimpleNamespace(server_version=140_011, user="u", host="h", port=5432, dbname="d")
    with pytest.raises(DatabaseError, match=r"u@h:5432/d is version 14; 15 or newer is needed"):
        check_version(cast("Any", SimpleNamespace(info=info)))
