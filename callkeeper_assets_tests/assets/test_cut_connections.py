"""A database that goes away at any statement: an error of ours, a row in the load log, whole data.

And a lock that goes away while the rest stays: the work that relies on it stops.
"""

import re
from collections.abc import Callable, Iterator
from typing import Final

import pytest

from callkeeper_assets.config.source import Source
from callkeeper_assets.postgres.url import connect
from callkeeper_assets.simulator.server import RunningSimulator
from callkeeper_assets.warehouse.tables import SELECTABLE_TABLES
from callkeeper_assets_tests.assets.conftest import FIRST, Loader, describe_failure
from callkeeper_assets_tests.postgres.proxy import Moment, Proxy, run_proxy

Count = Callable[[str], int]

# What each kind of statement has in it as it goes over the wire.
READ, COPY, COMMIT = b"COPY (SELECT", b"FROM STDIN", b"COMMIT"
LOCK_OF_SOURCE, LOCK_OF_ACCOUNT = b"pg_advisory_lock_shared(", b"pg_advisory_lock("
# Messages that the clients of a load send at least.
_LEAST = 50
# From one message that is cut to the next: all of them, with a load each, take half an hour.
_STRIDE = 3


@pytest.fixture
def api() -> str:
    """One API will do: what is tested lies behind it."""
    return "callkeeper"


@pytest.fixture
def tables() -> tuple[str, ...]:
    """Every table, each with its own statements."""
    return SELECTABLE_TABLES


@pytest.fixture
def proxy(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy before the database, in force."""
    with run_proxy(database) as running:
        monkeypatch.setenv("CALLKEEPER_DATABASE_URL", running.url)
        yield running


# One of each kind; the others are for the long form.
_SHORT: Final = ((COPY, "before"), (COMMIT, "answering"), (LOCK_OF_ACCOUNT, "answering"))
_CUTS: Final = [
    pytest.param(mark, moment, marks=() if (mark, moment) in _SHORT else pytest.mark.chaos)
    for mark in (READ, COPY, COMMIT, LOCK_OF_SOURCE, LOCK_OF_ACCOUNT)
    for moment in ("before", "answering")
]


def _end_locks(database: str) -> None:
    """End the connections that hold locks of runs and sources, as an administrator may."""
    with connect(database, autocommit=True) as connection:
        ended = connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory'"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            " AND classid IN (0x434B5256, 0x434B5253)"
        ).fetchall()
    assert ended


@pytest.mark.parametrize(("mark", "moment"), _CUTS)
def test_a_connection_cut_at_any_statement_is_reported_logged_and_mended_by_the_next_load(
    source: Source,
    loader: Loader,
    proxy: Proxy,
    simulator: RunningSimulator,
    count: Count,
    *,
    mark: bytes,
    moment: Moment,
) -> None:
    assert loader.load(source, FIRST, FIRST).success
    simulator.account("moscow").add(FIRST, 5)
    proxy.cut_at(mark, moment=moment)
    result = loader.load(source, FIRST, FIRST)
    assert proxy.hits == 1
    assert not result.success
    said = describe_failure(result)
    assert "try again" in said
    assert count("callkeeper_loads WHERE error LIKE '%try again%'") == 1
    # The old day, or, if the server had heard of the commit, the new one.
    assert count("callkeeper_calls") == count("callkeeper_calls_facts")
    assert count("callkeeper_calls") in (
        {60, 65} if (mark, moment) == (COMMIT, "answering") else {60}
    )
    assert loader.load(source, FIRST, FIRST).success
    assert count("callkeeper_calls") == count("callkeeper_calls_facts") == 65


@pytest.mark.chaos
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("moment", "nth"), [("before", 1), ("answering", 2)])
def test_a_connection_cut_at_one_message_after_another_leaves_the_data_whole(
    source: Source,
    loader: Loader,
    proxy: Proxy,
    simulator: RunningSimulator,
    count: Count,
    *,
    moment: Moment,
    nth: int,
) -> None:
    assert loader.load(source, FIRST, FIRST).success
    calls = 60
    while True:
        simulator.account("moscow").add(FIRST, 1)
        proxy.hits = 0
        proxy.cut_at(b"", nth=nth, moment=moment)
        result = loader.load(source, FIRST, FIRST)
        if not proxy.hits:
            break
        if not result.success:
            assert re.search("try again|Check that the server runs", describe_failure(result)), nth
            assert count("callkeeper_calls") == count("callkeeper_calls_facts")
            assert count("callkeeper_calls") in (calls, calls + 1), nth
            result = loader.load(source, FIRST, FIRST)
            assert result.success, (nth, describe_failure(result))
        calls += 1
        assert count("callkeeper_calls") == count("callkeeper_calls_facts") == calls, nth
        nth += _STRIDE
    # As many as a load sends, and there are some.
    assert nth > _LEAST


def test_a_run_whose_lock_is_gone_stores_nothing_more(
    source: Source, loader: Loader, proxy: Proxy, database: str, count: Count
) -> None:
    """Its key is free by then, and the janitor may have begun another run in its place."""
    assert loader.load(source, FIRST, FIRST).success
    with connect(database, autocommit=True) as connection:
        connection.execute("TRUNCATE callkeeper_calls, callkeeper_calls_facts")
    proxy.act_at(b'"callkeeper_loads"', lambda: _end_locks(database))
    result = loader.load(source, FIRST, FIRST)
    assert not result.success
    said = describe_failure(result)
    assert "has gone" in said
    assert count("callkeeper_calls") == 0
    assert count("callkeeper_loads WHERE error LIKE '%has gone%'") == 1
    assert loader.load(source, FIRST, FIRST).success
    assert count("callkeeper_calls") == 60
