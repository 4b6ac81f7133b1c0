"""`callkeeper load` and `refresh`, from the simulated source into a real database."""

import os
import signal
from datetime import UTC, date, datetime
from pathlib import Path

import psycopg
import pytest

from callkeeper_assets.simulator.server import RunningSimulator, run_simulator
from callkeeper_assets.simulator.settings import AccountSettings, Fault
from callkeeper_assets_tests.cli.conftest import (
    CALLS_PER_DAY,
    KEY,
    ZONE,
    callkeeper,
    days_ago,
    started,
    today,
    write_source,
)
from callkeeper_assets_tests.processes import children_of, is_alive
from callkeeper_assets_tests.templates import from_nothing
from callkeeper_assets_tests.waiting import wait_until

pytestmark = pytest.mark.e2e

WRONG_KEY = "ffffffffffffffffffffffffffffffff"


@from_nothing
@pytest.mark.usefixtures("database")
def test_days_are_loaded_refreshed_and_reported(main_office: RunningSimulator) -> None:
    """One story from a database without tables on, as each of its steps takes seconds."""
    account = main_office.account("main")
    loaded = callkeeper("load", "main_office", "--from", days_ago(5), "--to", days_ago(0), "--json")
    assert loaded.code == 0, loaded.err
    assert "main_office: 6 days to load" in loaded.err
    document = loaded.document()
    (source,) = document["sources"]
    calls = 5 * CALLS_PER_DAY + account.truth(today(), today(), has_calls=False).count
    assert document["ok"] is True
    assert (source["days"], source["calls"], source["errors"]) == (6, calls, [])
    assert source["tables"]["callkeeper_calls"] == {"added": calls, "updated": 0, "deleted": 0}

    again = callkeeper("refresh")
    assert again.code == 0, again.err
    assert "no row changed" in again.out
    assert "Tables:    postgresql://callkeeper@127.0.0.1:" in again.out
    assert "\x1b" not in again.out + again.err
    assert "\r" not in again.out + again.err

    account.remove(date.fromisoformat(days_ago(1)), 1)
    account.change(date.fromisoformat(days_ago(2)), 2, column="tags")
    account.add(date.fromisoformat(days_ago(1)), 3)
    changed = callkeeper("refresh", "main_office", "--json")
    (source,) = changed.document()["sources"]
    assert source["tables"]["callkeeper_calls"] == {"added": 3, "updated": 2, "deleted": 1}

    status = callkeeper("status", "--json")
    (source,) = status.document()["sources"]
    assert source["loaded"]["last_day"] == days_ago(0)
    assert source["loaded"]["calls"] == calls + 2
    assert source["last_load"]["error"] is None
    for done in (loaded, again, changed, status):
        assert KEY not in done.out + done.err
        assert "Traceback" not in done.err


@pytest.mark.usefixtures("database")
def test_a_wrong_key_is_said_without_the_key(
    main_office: RunningSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the language of who typed the command, though a worker says it; JSON is English."""
    monkeypatch.setenv("MAIN_OFFICE_API_KEY", WRONG_KEY)
    monkeypatch.setenv("CALLKEEPER_LANG", "ru")
    asked = ("load", "main_office", "--from", days_ago(2), "--to", days_ago(1))
    russian = callkeeper(*asked).err
    assert "источник 'main_office': getCallsInfo за" in russian
    assert WRONG_KEY not in russian
    done = callkeeper(*asked, "--json")
    assert done.code == 1
    (error,) = done.document()["sources"][0]["errors"]
    assert "source 'main_office': getCallsInfo for" in error
    assert "HTTP 403 'Not the correct key api'" in error
    assert error in done.err
    assert "Traceback" not in done.err
    assert WRONG_KEY not in done.out + done.err
    assert main_office.account("main").requests == {}


@pytest.mark.usefixtures("main_office")
def test_dagster_shows_a_command_s_runs_with_their_job_and_keeps_good_days_green(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = ("--from", "yesterday")
    loaded = callkeeper("load", "--all", *days)
    assert loaded.code == 0, loaded.err
    assert "main_office: 2 days to load" in loaded.err
    monkeypatch.setenv("MAIN_OFFICE_API_KEY", WRONG_KEY)
    assert callkeeper("load", "main_office", *days).code == 1
    with psycopg.connect(database) as connection:
        runs = connection.execute(
            "SELECT r.status, t.value FROM dagster.runs AS r LEFT JOIN dagster.run_tags AS t"
            " ON t.run_id = r.run_id AND t.key = '.dagster/repository' ORDER BY r.id"
        ).fetchall()
        checks = connection.execute(
            "SELECT execution_status, count(*) > 10 FROM dagster.asset_check_executions GROUP BY 1"
        ).fetchall()
    assert runs == [
        ("SUCCESS", "__repository__@callkeeper_assets"),
        ("FAILURE", "__repository__@callkeeper_assets"),
    ]
    assert checks == [("SUCCEEDED", True)]


@pytest.mark.usefixtures("main_office")
def test_an_unreachable_database_fails_a_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLKEEPER_DATABASE_URL", "postgresql://me:hidden@127.0.0.1:1/calls")
    done = callkeeper("load", "main_office", "--from", days_ago(2), "--to", days_ago(1))
    assert (done.code, done.out) == (1, "")
    assert "No connection to the database postgresql://me@127.0.0.1:1/calls" in done.err
    assert "Traceback" not in done.err
    assert "hidden" not in done.err


@pytest.mark.usefixtures("main_office", "database")
def test_sources_that_cannot_be_refreshed_do_not_stop_the_others(
    defs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("UNSET_API_KEY", raising=False)
    write_source(defs, "broken", "tabels: [x]")
    write_source(defs, "unset")
    done = callkeeper("refresh", "--json")
    assert done.code == 1
    assert "Source 'broken' is not loaded" in done.err
    assert "Source 'unset' has no API key" in done.err
    document = done.document()
    assert document["ok"] is False
    assert [(source["source"], source["ok"], source["days"]) for source in document["sources"]] == [
        ("main_office", True, 4),
        ("broken", False, None),
        ("unset", False, None),
    ]


def _slow_down(simulator: RunningSimulator) -> None:
    simulator.account("main").set_faults(Fault("latency", seconds=1.0, methods=("getCallsInfo",)))


def _has_asked(simulator: RunningSimulator) -> bool:
    return simulator.account("main").requests["getCallsInfo"] > 0


@pytest.mark.usefixtures("database")
def test_ctrl_c_stops_a_load_and_the_next_one_makes_it_right(
    main_office: RunningSimulator,
) -> None:
    _slow_down(main_office)
    with started("load", "main_office", "--from", days_ago(60), "--to", days_ago(1)) as process:
        wait_until(lambda: _has_asked(main_office), "the load asks the source")
        workers = children_of(process.pid)
        assert workers
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Stopped. Days that were loaded stay loaded; run the command again." in said
    assert "Traceback" not in said
    assert not any(is_alive(worker) for worker in workers)
    main_office.account("main").set_faults()
    again = callkeeper("load", "main_office", "--from", days_ago(2), "--to", days_ago(1))
    assert again.code == 0, again.err


@pytest.mark.usefixtures("database")
def test_a_killed_worker_is_reported_and_the_next_load_makes_it_right(
    main_office: RunningSimulator,
) -> None:
    """The dead run holds its key's place: the next one must free it."""
    _slow_down(main_office)
    days = ("--from", days_ago(60), "--to", days_ago(1))
    with started("load", "main_office", *days, is_warm=True) as process:
        wait_until(lambda: _has_asked(main_office), "the load asks the source")
        for worker in children_of(process.pid):
            os.kill(worker, signal.SIGKILL)
        out, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert (
        "main_office: the process of the load was killed (signal 9). Days loaded so far stay "
        "loaded. Run the command again."
    ) in said
    assert "failed, see above" in out
    main_office.account("main").set_faults()
    again = callkeeper("load", "main_office", "--from", days_ago(2), "--to", days_ago(1))
    assert again.code == 0, again.err


@pytest.mark.usefixtures("database")
def test_workers_do_not_outlive_a_killed_command(main_office: RunningSimulator) -> None:
    _slow_down(main_office)
    days = ("--from", days_ago(60), "--to", days_ago(1))
    with started("load", "main_office", *days, is_warm=True) as process:
        wait_until(lambda: _has_asked(main_office), "the load asks the source")
        workers = children_of(process.pid)
        assert workers
        process.kill()
    wait_until(lambda: not any(is_alive(worker) for worker in workers), "workers end")


@pytest.mark.usefixtures("database")
def test_of_two_sources_one_whose_worker_is_killed_is_reported_and_the_other_is_loaded(
    defs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their workers are forked from one process; the command is not their parent."""
    keys = {"stuck": KEY, "well": f"{KEY[:-1]}0"}
    accounts = [
        AccountSettings(key=key, name=name, calls_per_day=CALLS_PER_DAY, time_zone=ZONE)
        for name, key in keys.items()
    ]
    with run_simulator(accounts, now=datetime.now(UTC)) as simulator:
        for name, key in keys.items():
            monkeypatch.setenv(f"{name.upper()}_API_KEY", key)
            write_source(defs, name, f"base_url: {simulator.base_url}", f"time_zone: {ZONE}")
        slow = Fault("latency", seconds=30, methods=("getCallsInfo",))
        simulator.account("stuck").set_faults(slow)
        with started("load", *keys, "--from", days_ago(2), "--to", days_ago(1)) as process:
            wait_until(lambda: simulator.account("stuck").requests["getCallsInfo"] > 0, "it asks")
            (forking,) = children_of(process.pid)
            # The first that was asked for.
            os.kill(min(children_of(forking)), signal.SIGKILL)
            out, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "stuck: the process of the load was killed (signal 9). Days loaded so far" in said
    assert "failed, see above" in out
    (row,) = [line for line in out.splitlines() if line.startswith("well")]
    assert row.split()[1] == "2"


@pytest.mark.usefixtures("database")
def test_workers_of_two_sources_do_not_outlive_a_killed_command(
    defs: Path, main_office: RunningSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    _slow_down(main_office)
    monkeypatch.setenv("OTHER_API_KEY", WRONG_KEY)
    write_source(defs, "other", f"base_url: {main_office.base_url}", f"time_zone: {ZONE}")
    days = ("--from", days_ago(60), "--to", days_ago(1))
    with started("load", "main_office", "other", *days) as process:
        wait_until(lambda: _has_asked(main_office), "the load asks the source")
        (forking,) = children_of(process.pid)
        workers = [forking, *children_of(forking)]
        assert len(workers) > 1
        process.kill()
    wait_until(lambda: not any(is_alive(worker) for worker in workers), "workers end")
