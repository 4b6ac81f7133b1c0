"""The embedded server's life with real processes: shared, killed, crashed, left over."""

import os
import shutil
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from callkeeper_assets.postgres import DatabaseError, EmbeddedPostgres, connect
from callkeeper_assets_tests.postgres.conftest import User, is_running, kill_server


def _url_of(user: User) -> str:
    assert user.stdout is not None
    return user.stdout.readline().strip()


def _leave(user: User) -> None:
    """Let a user end by itself."""
    user.communicate("", timeout=60)
    assert user.returncode == 0


def test_two_that_start_at_once_share_a_server_which_the_last_one_stops(
    home: Path, start_user: Callable[[Path], User]
) -> None:
    first, second = start_user(home), start_user(home)
    assert _url_of(first) == _url_of(second) != ""
    _leave(first)
    assert is_running(home)
    _leave(second)
    assert not is_running(home)


def test_a_killed_user_is_not_counted_and_its_server_serves_the_next(
    made_home: Path, start_user: Callable[[Path], User]
) -> None:
    killed = start_user(made_home)
    url = _url_of(killed)
    killed.kill()
    killed.wait()
    assert is_running(made_home)
    with EmbeddedPostgres(made_home, sync=False) as server:
        assert server.start() == url
        connect(url).close()
    assert not is_running(made_home)


def test_data_survives_when_server_and_users_are_killed_together(made_home: Path) -> None:
    with EmbeddedPostgres(made_home, sync=False) as server:
        with connect(server.start()) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 'Привет' AS word")
        kill_server(made_home, signal.SIGKILL)
        # The same process, and the same call, as a daemon makes that outlived its database.
        with connect(server.start()) as connection:
            row = connection.execute("SELECT lower(word) FROM kept").fetchone()
    assert row == ("привет",)


def test_a_killed_server_is_started_again_at_its_port_although_it_had_clients(
    made_home: Path,
) -> None:
    """Its sessions outlive it for a moment; and a daemon that used it keeps asking at that port."""
    with EmbeddedPostgres(made_home, sync=False) as server:
        url = server.start()
        clients = [connect(url) for _ in range(8)]
        kill_server(made_home, signal.SIGKILL)
        assert server.start() == url
        for client in clients:
            client.close()


@pytest.mark.parametrize("content", ["", "{pid}\n{data}\n1\n5432\n\n127.0.0.1\n\nready\n"])
def test_a_pid_file_that_names_nobody_or_another_program_is_no_obstacle(
    made_home: Path, content: str
) -> None:
    with EmbeddedPostgres(made_home, sync=False) as server:
        server.start()
    data = made_home / "postgres" / "data"
    (data / "postmaster.pid").write_text(content.format(pid=os.getpid(), data=data))
    assert not is_running(made_home)
    with server:
        connect(server.start()).close()


def test_a_copied_home_has_a_server_of_its_own(made_home: Path) -> None:
    copy = made_home.with_name(f"{made_home.name}-copy")
    with EmbeddedPostgres(made_home, sync=False) as server:
        with connect(server.start(), autocommit=True) as connection:
            connection.execute("CHECKPOINT")
        shutil.copytree(made_home, copy)
        for path in [copy / "postgres" / "data", *(copy / "postgres" / "data").rglob("*")]:
            original = made_home / path.relative_to(copy)
            if original.exists():
                shutil.chown(path, original.stat().st_uid, original.stat().st_gid)
        with EmbeddedPostgres(copy, sync=False) as second:
            assert urlsplit(second.start()).port != urlsplit(server.start()).port
            with connect(second.start()) as connection:
                row = connection.execute("SHOW data_directory").fetchone()
    assert row == (str(copy / "postgres" / "data"),)


def test_a_taken_port_is_left_to_who_has_it(made_home: Path) -> None:
    with EmbeddedPostgres(made_home, sync=False) as server:
        port = urlsplit(server.start()).port
    with socket.create_server(("127.0.0.1", port or 0)), server:
        assert urlsplit(server.start()).port != port
    with server:
        assert urlsplit(server.start()).port == port


def test_it_listens_on_loopback_alone_and_asks_for_a_password(made_home: Path) -> None:
    with EmbeddedPostgres(made_home, sync=False) as server:
        url = server.start()
        with connect(url) as connection:
            row = connection.execute(
                "SELECT current_setting('listen_addresses'), "
                "current_setting('unix_socket_directories'), current_setting('fsync'), "
                "current_setting('server_encoding')"
            ).fetchone()
            kept = connection.execute(
                "SELECT rolpassword FROM pg_authid WHERE rolname = 'callkeeper'"
            ).fetchone()
        parts = urlsplit(url)
        with pytest.raises(DatabaseError, match="password authentication failed"):
            connect(url.replace(parts.password or "", "guessed"))
    assert row == ("127.0.0.1", "", "on", "UTF8")
    # As a hash, of one round: what it is made of is no word of a person's.
    assert kept is not None
    assert str(kept[0]).startswith("SCRAM-SHA-256$1:")
    assert (made_home / "postgres" / "password").stat().st_mode & 0o077 == 0


def test_the_log_shows_no_statement_and_no_value(made_home: Path) -> None:
    """Both could be a client's phone."""
    with (
        EmbeddedPostgres(made_home, sync=False) as server,
        connect(server.start(), autocommit=True) as connection,
    ):
        connection.execute("CREATE TABLE clients (phone text PRIMARY KEY)")
        connection.execute("INSERT INTO clients VALUES ('79161234567')")
        with pytest.raises(Exception, match="duplicate key"):
            connection.execute("INSERT INTO clients VALUES ('79161234567')")
    log = (made_home / "postgres" / "data" / "server.log").read_text()
    assert "duplicate key" in log
    assert "79161234567" not in log


def test_a_deleted_home_does_not_disturb_the_end_of_its_users(made_home: Path) -> None:
    server = EmbeddedPostgres(made_home, sync=False)
    server.start()
    kill_server(made_home, signal.SIGINT)
    shutil.rmtree(made_home)
    server.stop()
    assert not is_running(made_home)
