"""Locks that are relied on for hours: whatever an administrator set, and whoever ends them."""

import re
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import psycopg
import pytest

from callkeeper_assets.postgres import connect
from callkeeper_assets.postgres.errors import DatabaseLostError, LockLostError
from callkeeper_assets.postgres.locks import (
    Lock,
    held_run_lock,
    held_source_lock,
    held_source_lock_alone,
    is_run_alive,
)
from callkeeper_assets.warehouse.records import BadDataError, UnavailableError
from callkeeper_assets.warehouse.session import Session

_SETTINGS = (
    "statement_timeout",
    "lock_timeout",
    "idle_session_timeout",
    "idle_in_transaction_session_timeout",
    "transaction_timeout",
)


ENDED = re.compile("terminating connection.*try again")


@pytest.fixture
def impatient(database: str) -> Iterator[str]:
    """The database for a role that an administrator gave little time for anything."""
    parts, role = urlsplit(database), f"role_{uuid.uuid4().hex}"
    with connect(database, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'secret'")
        for name in _SETTINGS:
            connection.execute(f"ALTER ROLE {role} SET {name} = '500ms'")
    yield parts._replace(netloc=f"{role}:secret@{parts.netloc.rpartition('@')[2]}").geturl()
    with connect(database, autocommit=True) as connection:
        connection.execute(f"DROP ROLE {role}")


def _end(database: str, process: int) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(%s, 5000)", (process,))


def _end_waiting(database: str) -> None:
    """End who waits for an advisory lock, once somebody does."""
    with psycopg.connect(database, autocommit=True) as connection:
        for _ in range(200):
            ended = connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE NOT granted "
                "AND locktype = 'advisory' AND database = "
                "(SELECT oid FROM pg_database WHERE datname = current_database())"
            ).fetchall()
            if ended:
                return
            time.sleep(0.05)
    raise AssertionError("nobody waits")


def test_time_outs_of_the_role_neither_end_a_lock_nor_the_wait_for_it(
    impatient: str, database: str
) -> None:
    """`forget` waits so for runs that are under way, and runs hold so for hours."""
    said: list[str] = []

    def forget() -> None:
        with held_source_lock_alone(impatient, "moscow", lambda: said.append("waiting")):
            said.append("alone")

    with ThreadPoolExecutor(1) as pool:
        with held_run_lock(impatient, "a run"), held_source_lock(impatient, "moscow"):
            waiting = pool.submit(forget)
            time.sleep(1.5)
            assert said == ["waiting"]
            assert is_run_alive(database, "a run")
        waiting.result()
    assert said == ["waiting", "alone"]


def test_a_machine_that_vanishes_keeps_its_locks_for_a_minute_at_most(database: str) -> None:
    with Lock(database, "a test") as lock:
        shown = {
            name: int(str(value))
            for name, value in lock.connection.execute(
                "SELECT name, setting FROM pg_settings WHERE name LIKE 'tcp_%'"
            )
        }
        sent = lock.connection.info.get_parameters()
    assert shown["tcp_keepalives_idle"] + 3 * shown["tcp_keepalives_interval"] <= 60
    assert shown["tcp_keepalives_count"] == 3
    assert 0 < shown["tcp_user_timeout"] <= 60_000
    assert {name: sent[name] for name in ("keepalives_idle", "tcp_user_timeout")} == {
        "keepalives_idle": "30",
        "tcp_user_timeout": "60000",
    }


def test_a_lock_is_free_as_soon_as_it_is_closed(database: str) -> None:
    """A second backup right after the first was refused: the server had not seen it close.

    Temporary tables make a server's process take longer to end.
    """
    for _ in range(5):
        with Lock(database, "the backup") as lock:
            assert lock.attempt(1)
            for number in range(50):
                lock.connection.execute(f"CREATE TEMPORARY TABLE t{number} (n int)".encode())


def test_nothing_is_committed_once_a_lock_is_gone(database: str) -> None:
    with Session(database) as session, connect(database) as connection:
        session.execute("CREATE TABLE t (n int)")
        with Lock(database, "source 'moscow'") as lock:
            lock.wait(1, 2)
            _end(database, lock.connection.info.backend_pid)
            gone = pytest.raises(LockLostError, match="The lock of source 'moscow' has gone")
            with gone, session.transaction():
                session.execute("INSERT INTO t VALUES (1)")
            with pytest.raises(LockLostError), connection.transaction():
                connection.execute("INSERT INTO t VALUES (2)")
            connection.execute("INSERT INTO t VALUES (3)")
            with pytest.raises(LockLostError):
                connection.commit()
            connection.rollback()
        # It is not held any more, nor missed.
        with session.transaction():
            session.execute("INSERT INTO t VALUES (4)")
        assert session.query("SELECT n FROM t")["n"].to_pylist() == [4]


def test_a_connection_that_is_ended_while_it_waits_for_a_lock_is_reported_in_our_words(
    database: str,
) -> None:
    with ThreadPoolExecutor(1) as pool, held_source_lock(database, "moscow"):
        ended = pool.submit(_end_waiting, database)
        alone = held_source_lock_alone(database, "moscow", lambda: None)
        with pytest.raises(DatabaseLostError, match=ENDED), alone:
            pass
        ended.result()


def test_a_session_that_is_ended_while_it_waits_for_an_account_is_unavailable(
    database: str,
) -> None:
    """Arrow's own reader raises OSError there, which nobody takes for what it is."""
    with (
        Session(database) as one,
        Session(database) as other,
        ThreadPoolExecutor(1) as pool,
        one.lock(2),
    ):
        ended = pool.submit(_end_waiting, database)
        with pytest.raises(UnavailableError, match="terminating connection"), other.lock(2):
            pass
        ended.result()


def test_an_error_amid_the_rows_of_an_answer_keeps_its_sqlstate(database: str) -> None:
    with Session(database) as session:
        with pytest.raises(BadDataError, match="22012"):
            session.query("SELECT 1 / (100000 - n) AS n FROM generate_series(1, 200000) AS n")
        assert session.query("SELECT 1 AS n")["n"].to_pylist() == [1]


def test_a_connection_that_is_ended_amid_a_statement_is_reported_in_our_words(
    database: str,
) -> None:
    connection = connect(database, autocommit=True)
    _end(database, connection.info.backend_pid)
    with pytest.raises(DatabaseLostError, match=ENDED), connection:
        connection.execute("SELECT 1")
