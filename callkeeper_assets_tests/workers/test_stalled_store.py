"""An object store that accepts and does not answer: a load waits for it, and not for ever."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest

from callkeeper_assets.object_store import LIMIT_SEC, StalledError, _limited_s3, open_files
from callkeeper_assets.raw.place import StoreError
from callkeeper_assets.raw.store import RawStore, store_days
from callkeeper_assets.simulator.server import RunningSimulator
from callkeeper_assets_tests.chaos.installation import SOURCE, Installation
from callkeeper_assets_tests.waiting import wait_until
from callkeeper_assets_tests.workers.object_store import ObjectStore, run_object_store
from callkeeper_assets_tests.workers.stalls import Network, run_network
from callkeeper_assets_tests.workers.test_object_store import make_day

_DAY = date(2026, 1, 1)
# Longer than a request's time limit, so that it is made again.
_STALL_SEC = LIMIT_SEC + 5


@pytest.fixture
def objects() -> Iterator[ObjectStore]:
    """An object store."""
    with run_object_store() as running:
        yield running


@pytest.fixture
def network(objects: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[Network]:
    """What lies before it; this process has little patience."""
    monkeypatch.setattr("callkeeper_assets.object_store.LIMIT_SEC", 4.0)
    with run_network(objects.port) as made:
        for name, value in replace(objects, port=made.port).variables.items():
            monkeypatch.setenv(name, value)
        # s3fs keeps file systems, with the address that they began with: by class.
        _limited_s3.cache_clear()
        yield made
        _limited_s3.cache_clear()


def test_what_has_no_answer_is_an_error_whether_it_is_written_or_read(
    objects: ObjectStore, network: Network
) -> None:
    """By themselves, a writer waits for ever for `100 Continue`, and a reader for six minutes."""
    store = RawStore(objects.url)
    list(store_days(store, [make_day(_DAY)]))
    network.stall()
    began = time.monotonic()
    with pytest.raises(StoreError, match="no answer in 4 s, twice") as raised:
        store.read(SOURCE, _DAY)
    assert "CALLKEEPER_RAW_URL" in str(raised.value)
    with pytest.raises(StoreError, match="no answer in 4 s, twice"):
        list(store_days(store, [make_day(_DAY)]))
    assert time.monotonic() - began < 30


def test_what_is_long_is_given_the_time_that_a_slow_line_takes(
    objects: ObjectStore, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backup's largest tables failed over five megabits a second."""
    monkeypatch.setattr("callkeeper_assets.object_store._SLOWEST", 1 << 19)
    files, root = open_files(objects.url)
    network.stall()
    with pytest.raises(StalledError, match="no answer in 6 s, twice"):
        files.pipe_file(f"{root}/long", bytes(1 << 20))


def test_what_stalls_for_a_while_is_asked_for_again(objects: ObjectStore, network: Network) -> None:
    """Also one that stalls within its answer."""
    store = RawStore(objects.url)
    for stall in (network.stall, lambda: network.stall_answers_after(100)):
        stall()
        threading.Timer(5.0, network.go_on).start()
        list(store_days(store, [make_day(_DAY)]))
        assert len(store.read(SOURCE, _DAY)) == 3


@pytest.mark.e2e
@pytest.mark.chaos
@pytest.mark.timeout(300)
def test_a_load_outlasts_a_store_that_stalls(
    objects: ObjectStore, simulator: RunningSimulator, home: Path, database: str
) -> None:
    """While it writes raw calls, and then while it reads them, to compare."""
    last = _DAY + timedelta(days=9)
    with run_network(objects.port) as between:
        made = Installation(home=home / "first", defs=home / "first.defs", database=database)
        made.variables.update(replace(objects, port=between.port).variables)
        made.add_source(simulator.base_url)
        for _ in range(2):
            between.stall_answers_after(3000)
            began = time.monotonic()
            process = made.start(
                "callkeeper_assets.cli.main", "load", SOURCE, "--from", str(_DAY), "--to", str(last)
            )
            wait_until(lambda: not between.is_open.is_set(), "it stalls", 120)
            time.sleep(_STALL_SEC)
            between.go_on()
            stdout, stderr = process.communicate(timeout=120)
            assert process.returncode == 0, stdout + stderr
            assert time.monotonic() - began > _STALL_SEC
        rows = made.query("SELECT count(*), count(DISTINCT call_id) FROM callkeeper_calls")
        assert rows == [(100, 100)]
