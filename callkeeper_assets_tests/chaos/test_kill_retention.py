"""Kill -9 of a retention: every day is there whole or not at all, and the next one ends it."""

import json
import random
import subprocess
from datetime import date, datetime, timedelta
from typing import Final

import pytest

from callkeeper_assets.postgres.locks import held_source_lock_alone
from callkeeper_assets.raw.store import RawStore
from callkeeper_assets.simulator.server import RunningSimulator
from callkeeper_assets_tests.chaos.facts import Days, describe_difference, read_days
from callkeeper_assets_tests.chaos.holds import hold, wait_for_servers_end_of_it
from callkeeper_assets_tests.chaos.installation import SOURCE, Installation
from callkeeper_assets_tests.chaos.rounds import DAYS, FIRST, LAST, ZONE, tell
from callkeeper_assets_tests.extent import one_of
from callkeeper_assets_tests.waiting import wait_until

# All but the last three days go.
_FIRST_KEPT: Final = LAST - timedelta(days=2)
_OLD: Final = [day for day in DAYS if day < _FIRST_KEPT]
_RANDOM_ROUNDS: Final = 10
# What the process waits for, by the step that it is killed in.
_STEPS: Final = {
    "deletes its first day": "LOCK TABLE callkeeper_calls IN EXCLUSIVE MODE",
    "deletes rows of dimensions": "LOCK TABLE general_dates IN EXCLUSIVE MODE",
}
_DANGLING: Final = """
    SELECT count(*) FROM callkeeper_calls_facts AS f
    LEFT JOIN callkeeper_calls AS c ON c.id = f.calls_id
    LEFT JOIN general_sites AS s ON s.id = f.sites_id
    LEFT JOIN general_dates AS d ON d.id = f.dates_id
    LEFT JOIN general_clientids AS k ON k.id = f.clientids_id
    WHERE c.id IS NULL OR s.id IS NULL OR d.id IS NULL OR k.id IS NULL
"""
_NOBODYS: Final = """
    SELECT count(*) FROM general_dates
    WHERE id <> 1 AND id NOT IN (SELECT dates_id FROM callkeeper_calls_facts)
        AND NOT (minute = 0 AND simple_date IN (SELECT day FROM callkeeper_days))
"""
_LOCK_WAITS: Final = """
    SELECT count(*) FROM pg_locks
    JOIN pg_database AS d ON d.oid = database AND d.datname = current_database()
    WHERE locktype = 'advisory' AND NOT granted
"""
_LOGGED: Final = """
    SELECT day, sum(rows_deleted)::int FROM callkeeper_loads
    WHERE origin = 'retention' AND table_name = 'callkeeper_calls' AND started_at >= %s
    GROUP BY day
"""


def _load_all(installation: Installation, simulator: RunningSimulator) -> Days:
    """Load all days; afterwards the source keeps but the last ones."""
    installation.add_source(simulator.base_url)
    assert installation.load(FIRST, LAST).code == 0
    file = installation.defs / SOURCE / "defs.yaml"
    keep_days = (datetime.now(ZONE).date() - _FIRST_KEPT).days
    file.write_text(file.read_text() + f"  retention: {{keep_days: {keep_days}}}\n")
    return tell(simulator)


def _start(installation: Installation) -> "subprocess.Popen[str]":
    return installation.start("callkeeper_assets.worker", SOURCE, "--retain")


def _check_whole_days(installation: Installation, loaded: Days, began: datetime) -> set[date]:
    """Every day is as it was loaded, or gone and logged; return those that are gone."""
    found = read_days(installation, FIRST, LAST, ZONE)
    gone = {day for day in _OLD if not found[day]}
    expected = {day: {} if day in gone else loaded[day] for day in DAYS}
    assert describe_difference(found, expected) == ""
    assert installation.query(_DANGLING) == [(0,)]
    logged = dict(installation.query(_LOGGED, began))
    assert logged == {day: len(loaded[day]) for day in gone}
    return gone


def _finish(installation: Installation, loaded: Days, began: datetime) -> None:
    ended = installation.run("retain", SOURCE, "--json")
    assert ended.code == 0, ended
    assert _check_whole_days(installation, loaded, began) == set(_OLD)
    assert installation.query(_NOBODYS) == [(0,)]
    store = RawStore(str(installation.home / "raw"))
    assert min(store.list_days(SOURCE)) == _FIRST_KEPT
    assert installation.run("retain", SOURCE, "--json").document["places"] == {}


def _now(installation: Installation) -> datetime:
    moment: datetime = installation.query("SELECT now()")[0][0]
    return moment


@pytest.mark.parametrize("step", one_of(_STEPS, "deletes rows of dimensions"))
def test_a_retention_killed_when_it(
    loaded: Installation, simulator: RunningSimulator, step: str
) -> None:
    calls, began = _load_all(loaded, simulator), _now(loaded)
    with hold(loaded, _STEPS[step]) as held:
        worker = _start(loaded)
        held.wait_for_somebody()
        worker.kill()
        worker.communicate(timeout=60)
    wait_for_servers_end_of_it(loaded)
    _check_whole_days(loaded, calls, began)
    _finish(loaded, calls, began)


@pytest.mark.chaos
def test_a_retention_that_loses_the_database_says_how_things_stand(
    loaded: Installation, simulator: RunningSimulator
) -> None:
    calls, began = _load_all(loaded, simulator), _now(loaded)
    with hold(loaded, _STEPS["deletes its first day"]) as held:
        worker = _start(loaded)
        held.wait_for_somebody()
        held.cut_off_who_waits()
    output, stderr = worker.communicate(timeout=120)
    assert worker.returncode == 1, output + stderr
    said = "What it deleted, if anything, stays deleted; the next retention does the rest."
    assert said in output
    _finish(loaded, calls, began)


def test_a_retention_waits_for_who_rewrites_calls(
    loaded: Installation, simulator: RunningSimulator
) -> None:
    """It would delete files that the other is about to write again."""
    calls, began = _load_all(loaded, simulator), _now(loaded)
    with held_source_lock_alone(loaded.database, SOURCE, lambda: None):
        worker = _start(loaded)
        wait_until(lambda: loaded.query(_LOCK_WAITS) == [(1,)], "it waits for the source's lock")
        assert _check_whole_days(loaded, calls, began) == set()
        assert min(RawStore(str(loaded.home / "raw")).list_days(SOURCE)) == FIRST
    output, stderr = worker.communicate(timeout=120)
    assert worker.returncode == 0, output + stderr
    assert _check_whole_days(loaded, calls, began) == set(_OLD)


@pytest.mark.chaos
@pytest.mark.timeout(1800)
def test_any_moment_of_death_leaves_whole_days_and_the_next_retention_ends_it(
    loaded: Installation, simulator: RunningSimulator
) -> None:
    rng = random.Random("chaos of retention")  # noqa: S311 -- not a secret
    reached = set()
    for _ in range(_RANDOM_ROUNDS):
        calls, began = _load_all(loaded, simulator), _now(loaded)
        worker = _start(loaded)
        last = rng.randint(1, len(_OLD))
        assert worker.stdout is not None
        for line in worker.stdout:
            message = json.loads(line)
            if message["type"] == "Progress" and message["days_done"] >= last:
                break
        worker.kill()
        _, stderr = worker.communicate(timeout=60)
        assert "Traceback" not in stderr, stderr
        wait_for_servers_end_of_it(loaded)
        reached.add(len(_check_whole_days(loaded, calls, began)))
        _finish(loaded, calls, began)
    assert len(reached) > 1
