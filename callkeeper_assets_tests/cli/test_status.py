"""`callkeeper status` where there is little to tell; what it tells of loads is in `test_load`."""

from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from callkeeper_assets.config.models import find_next_tick
from callkeeper_assets.postgres import connect
from callkeeper_assets.simulator.server import RunningSimulator
from callkeeper_assets.warehouse.loader import log_failure
from callkeeper_assets.warehouse.migrate import ensure_schema
from callkeeper_assets.warehouse.records import Account
from callkeeper_assets_tests.cli.conftest import ZONE, callkeeper, days_ago, today, write_source
from callkeeper_assets_tests.templates import from_nothing
from callkeeper_assets_tests.warehouse.raw_days import call, day_of, load_all


@pytest.mark.usefixtures("main_office")
def test_before_the_first_load_it_is_said_what_to_type(home: Path) -> None:
    done = callkeeper("status")
    assert (done.code, done.err) == (0, "")
    assert "Nothing is loaded yet. Type: callkeeper check, then" in done.out
    assert "callkeeper load main_office --from DAY --to DAY" in done.out
    assert "\x1b" not in done.out
    assert not (home / "postgres").exists(), "looking must not make a database"


@from_nothing
@pytest.mark.usefixtures("main_office", "database")
def test_an_empty_database_is_no_failure() -> None:
    done = callkeeper("status", "--json")
    assert done.code == 0
    document = done.document()
    assert document["database"]["is_embedded"] is False
    assert document["database"]["size_bytes"] > 0
    (source,) = document["sources"]
    assert source["name"] == "main_office"
    assert source["has_key"] is True
    assert source["loaded"] is None
    assert source["last_load"] is None


@pytest.mark.usefixtures("main_office")
def test_a_load_that_failed_is_reported_with_its_reason(database: str) -> None:
    ensure_schema(database)
    account = Account(name="main_office", caption="Main office", time_zone=ZoneInfo(ZONE))
    days = [today() - timedelta(days=back) for back in (1, 2)]
    log_failure(database, account, days, "run 1", "HTTP 403 'Not the correct key api'.")
    done = callkeeper("status")
    assert done.code == 0
    assert (
        "main_office: the last load failed for 2 day(s); first: HTTP 403 'Not the correct key api'."
    ) in done.err
    assert " failed " in done.out
    (source,) = callkeeper("status", "--json").document()["sources"]
    assert source["last_load"]["days_failed"] == 2
    assert source["last_load"]["run_id"] == "run 1"


@pytest.mark.usefixtures("main_office")
def test_with_fail_it_exits_with_1_if_anything_needs_a_person(
    database: str, defs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert callkeeper("status", "--fail").code == 0
    account = Account(name="main_office", caption="Main office", time_zone=ZoneInfo(ZONE))
    zone = account.time_zone
    load_all(database, [day_of(today() - timedelta(days=9), [call(1)], zone)], account)
    done = callkeeper("status", "--fail")
    assert done.code == 1
    assert "Needs a person:" in done.err
    assert "the newest that is loaded, are due since" in done.err
    assert "callkeeper refresh main_office" in done.err
    assert callkeeper("status").code == 0
    (need,) = callkeeper("status", "--json").document()["needs"]
    assert (need["kind"], need["subject"], need["severity"]) == (
        "not_fresh",
        "main_office",
        "error",
    )
    # What other sources lack is none of this one's, and the other way round.
    load_all(database, [day_of(today(), [call(2)], zone)], account)
    write_source(defs, "branch")
    assert callkeeper("status", "main_office", "--fail").code == 0
    assert callkeeper("status", "--fail", "--json").code == 1
    monkeypatch.setenv("BRANCH_API_KEY", "0" * 32)
    assert callkeeper("status", "--fail").code == 0


@pytest.mark.usefixtures("main_office")
def test_a_missing_day_is_reported_with_since_when(database: str) -> None:
    """An old day, loaded now, is no newest one."""
    zone = ZoneInfo(ZONE)
    account = Account(name="main_office", caption="Main office", time_zone=zone)
    newest = today() - timedelta(days=3)
    for day in (newest, newest - timedelta(days=200)):
        load_all(database, [day_of(day, [call(day.toordinal())], zone)], account)
    done = callkeeper("status")
    assert f" is missing, the newest day loaded is {newest}: no refresh has brought a newer" in (
        done.out
    )
    (source,) = callkeeper("status", "--json").document()["sources"]
    since = datetime.fromisoformat(source["freshness"]["missing_since"]).astimezone(zone)
    assert (since.date(), since.hour) == (newest + timedelta(days=1), 5)
    assert source["freshness"]["newest_day"] == str(newest)
    load_all(database, [day_of(today(), [call(1)], zone)], account)
    assert "is missing" not in callkeeper("status").out
    (source,) = callkeeper("status", "--json").document()["sources"]
    assert source["freshness"]["missing_since"] is None


@pytest.mark.usefixtures("main_office")
def test_an_unreachable_database_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLKEEPER_DATABASE_URL", "postgresql://me:hidden@127.0.0.1:1/calls")
    done = callkeeper("status")
    assert (done.code, done.out) == (1, "")
    assert "No connection to the database postgresql://me@127.0.0.1:1/calls" in done.err
    assert "Traceback" not in done.err
    assert "hidden" not in done.err


@pytest.mark.usefixtures("defs")
def test_without_a_source_it_is_said_how_to_make_one() -> None:
    done = callkeeper("status")
    assert done.code == 0
    assert "callkeeper add main_office" in done.out


def test_it_says_which_days_are_missing_whether_the_daemon_runs_and_what_is_switched_off(
    database: str, defs: Path, main_office: RunningSimulator
) -> None:
    write_source(
        defs,
        "branch",
        f"base_url: {main_office.base_url}",
        "caption: Филиал",
        f"start_date: {days_ago(9)}",
    )
    zone = ZoneInfo(ZONE)
    account = Account(name="branch", caption="Филиал", time_zone=zone)
    for back in (7, 6, 3):
        day = today() - timedelta(days=back)
        load_all(database, [day_of(day, [call(day.toordinal())], zone)], account)
    done = callkeeper("status", "branch")
    assert "branch (Филиал) " in done.out
    assert (
        f"branch: 3 of 9 days from {days_ago(9)} to yesterday are loaded; 6 are missing. To load"
        in done.out
    )
    for first, last in ((9, 8), (5, 4), (2, 1)):
        assert (
            f"callkeeper load branch --from {days_ago(first)} --to {days_ago(last)}\n" in done.out
        )
    assert "Daemon:   has never run: nothing is loaded by schedule" in done.out
    clock = datetime.now().astimezone().tzname()
    next_refresh = find_next_tick("0 5 * * *", datetime.now(zone), zone).astimezone()
    assert f"branch: next refresh: {next_refresh:%Y-%m-%d %H:%M} {clock}\n" in done.out

    with connect(database, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO dagster.instigators (selector_id, status, instigator_type, "
            "instigator_body) VALUES ('x', 'STOPPED', 'SCHEDULE', %s)",
            ('{"__class__": "InstigatorState", "origin": {"job_name": "branch_refresh"}}',),
        )
        for daemon in ("SCHEDULER", "SENSOR", "QUEUED_RUN_COORDINATOR"):
            connection.execute(
                "INSERT INTO dagster.daemon_heartbeats (daemon_type, timestamp) "
                "VALUES (%s, now() AT TIME ZONE 'UTC')",
                (daemon,),
            )
    done = callkeeper("status", "branch")
    assert "Daemon:   runs. Switched off in Dagster's UI: branch_refresh\n" in done.out
    document = callkeeper("status", "branch", "--json").document()
    assert document["daemon"]["is_running"] is True
    (source,) = document["sources"]
    assert source["coverage"]["gaps"][0] == {"first": days_ago(9), "last": days_ago(8)}
