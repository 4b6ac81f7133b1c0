"""All that one machine does, by three, each with a home of its own."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from callkeeper_assets.dagster_ext.shared_logs import SharedLogs
from callkeeper_assets.home import set_dagster_home
from callkeeper_assets.simulator.server import run_simulator
from callkeeper_assets_tests.chaos.installation import Installation
from callkeeper_assets_tests.e2e.clients import (
    FIRST,
    LAST,
    NATIONAL,
    build_payloads,
    configure,
    plant,
    send,
)
from callkeeper_assets_tests.e2e.dev import run_dev
from callkeeper_assets_tests.e2e.secret_search import Searcher
from callkeeper_assets_tests.e2e.test_run_server import launch
from callkeeper_assets_tests.extent import IS_LONG
from callkeeper_assets_tests.privacy.writings import WRITINGS
from callkeeper_assets_tests.waiting import wait_until
from callkeeper_assets_tests.workers.machines import Broker, join, working
from callkeeper_assets_tests.workers.object_store import BUCKET, ObjectStore, run_object_store

_PERIOD = ("--from", str(FIRST), "--to", str(LAST))
_CALLS = "SELECT count(*), count(DISTINCT call_id) FROM callkeeper_calls WHERE called_at < %s"
_DAYS = "SELECT count(*) FROM callkeeper_days"
_WAITING = "SELECT count(*) FROM callkeeper_webhooks WHERE state = 'new'"


@pytest.fixture
def objects() -> Iterator[ObjectStore]:
    """An object store."""
    with run_object_store() as running:
        yield running


def list_objects(store: ObjectStore) -> dict[str, bytes]:
    """Return all objects, by key."""
    client = store.open_client()
    found = client.list_objects_v2(Bucket=BUCKET).get("Contents", [])
    keys = [one["Key"] for one in found]
    return {key: client.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in keys}


def read_output(machine: Installation, key: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return what a step printed, as the UI of a machine shows it."""
    for name, value in machine.environment.items():
        monkeypatch.setenv(name, value)
    set_dagster_home()
    with dg.DagsterInstance.get() as instance:
        manager: Any = instance.compute_log_manager
        assert isinstance(manager, SharedLogs)
        log_key = key.partition(".logs/")[2].rpartition(".")[0].split("/")
        data = manager.get_log_data(log_key)
        return f"{data.stdout or b''!r}{data.stderr or b''!r}"


@pytest.mark.e2e
def test_three_machines_do_all_that_one_does(
    home: Path,
    database: str,
    broker: Broker,
    objects: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    searcher = Searcher(write(NATIONAL) for write in WRITINGS)
    first = Installation(home / "first", home / "first.defs", database, dict(objects.variables))
    machines = join(first, home / "dagster", broker)
    with run_simulator([]) as simulator:
        ids = plant(simulator)
        configure(first, simulator.base_url)
        second, third = machines.add("second"), machines.add("third")
        with working(second, third), run_dev(first) as dev:
            # Runs of the daemon, on the others; read by the UI's machine.
            days = [FIRST + timedelta(n) for n in range((LAST - FIRST).days + 1)]
            runs = [launch(dev, day, "office") for day in days]
            wait_until(lambda: first.query(_DAYS) == [(len(days),)], "all days are loaded", 120)
            [(calls, distinct)] = first.query(_CALLS, LAST + timedelta(2))
            assert calls == distinct > 0
            kept = list_objects(objects)
            assert sum(key.endswith(".parquet") for key in kept) == len(days)
            assert not list(second.home.rglob("*.parquet"))

            def find_output() -> list[str]:
                return [key for key in list_objects(objects) if runs[0] in key and ".err" in key]

            # It is sent when a step has ended, its days in the tables or not.
            wait_until(find_output, "the first run's output is in the store")
            assert "STEP_START" in read_output(first, find_output()[0], monkeypatch)
            # Webhooks come to one machine, and are processed by runs on any.
            send(second, build_payloads(ids), away=False)
            wait_until(lambda: first.query(_WAITING) == [(0,)], "webhooks are processed", 90)
        commands = [
            (second, "reconcile", "office", *_PERIOD),
            (third, "report", "office", "everything", *_PERIOD),
            (first, "report", "office", "clients", *_PERIOD),
            (third, "refresh", "office"),
            (second, "export", NATIONAL),
            (third, "status"),
        ]
        for machine, *words in (*(commands if IS_LONG else ()), (first, "forget", NATIONAL)):
            ended = machine.run(*words)
            assert ended.code == 0, (words, ended)
        left = list(searcher.search_tables(first))
        left += [key for key, content in list_objects(objects).items() if searcher.is_in(content)]
        for machine in (first, second, third):
            left += searcher.search_files(machine.home)
        assert left == []
        if not IS_LONG:
            return
        # What is older than a source keeps goes from the object store, too.
        file = third.defs / "office" / "defs.yaml"
        file.write_text(file.read_text("utf-8") + "  retention: {keep_days: 30}\n", "utf-8")
        objects.take_counts()
        assert third.run("retain", "office").code == 0
        assert not [key for key in list_objects(objects) if f"/{FIRST.year}/{FIRST}" in key]
        assert objects.take_counts().get("DELETE", 0) == 0
