"""One connection for what is asked one after another, each time as if it were new."""

import threading
from typing import Any

import psycopg
import pytest

from callkeeper_assets.postgres.keeping import kept_connection
from callkeeper_assets.postgres.url import connect

_SERVED_BY = "SELECT pg_backend_pid()"


def _ask(url: str, statement: str = _SERVED_BY) -> Any:  # noqa: ANN401 -- a row's value
    with connect(url) as connection:
        row = connection.execute(statement).fetchone()
    assert row is not None
    return row[0]


def test_who_asks_one_after_another_is_served_by_one_process(database: str) -> None:
    assert _ask(database) != _ask(database)
    with kept_connection():
        first = _ask(database)
        with kept_connection():
            assert _ask(database) == first
        assert _ask(database) == first
    assert _ask(database) != first
    assert _ask(database, f"SELECT count(*) FROM pg_stat_activity WHERE pid = {first}") == 0


def test_nothing_of_the_one_before_is_left(database: str) -> None:
    with kept_connection():
        with connect(database, autocommit=True) as connection:
            said = {
                name: connection.execute(f"SHOW {name}").fetchone()
                for name in ("search_path", "TimeZone", "enable_nestloop", "statement_timeout")
            }
            for statement in (
                "SET enable_nestloop = off",
                "SET TimeZone = 'Asia/Tokyo'",
                "SET statement_timeout = '59s'",
                "CREATE TEMPORARY TABLE theirs ()",
                "SELECT pg_advisory_lock(77)",
            ):
                connection.execute(statement)
        with connect(database) as connection:
            assert not connection.autocommit
            assert {name: connection.execute(f"SHOW {name}").fetchone() for name in said} == said
            assert connection.execute("SELECT to_regclass('theirs')").fetchone() == (None,)
            held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 77"
            assert connection.execute(held).fetchone() == (0,)


def test_one_in_use_or_with_parameters_is_not_shared(database: str) -> None:
    with kept_connection(), connect(database) as one, connect(database) as other:
        assert one.info.backend_pid != other.info.backend_pid
    with kept_connection():
        first = _ask(database)
        with connect(database, parameters={"connect_timeout": 5}) as own:
            assert own.info.backend_pid != first
        assert _ask(database) == first


def test_another_thread_has_its_own(database: str) -> None:
    found: list[int] = []
    with kept_connection():
        first = _ask(database)
        thread = threading.Thread(target=lambda: found.append(_ask(database)))
        thread.start()
        thread.join()
        assert found
        assert found != [first]


def test_after_an_error_and_after_a_lost_connection_work_goes_on(database: str) -> None:
    with kept_connection():
        first = _ask(database)
        with pytest.raises(psycopg.errors.DivisionByZero):
            _ask(database, "SELECT 1 / 0")
        assert _ask(database) == first
        with connect(database) as kept:
            pass
        with psycopg.connect(database) as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", (kept.info.backend_pid,))
        second = _ask(database)
        assert second != first
        assert _ask(database) == second
