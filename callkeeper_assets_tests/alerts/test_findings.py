"""What is found to need a person: by real runs and checks of Dagster's, over a real PostgreSQL."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest

from callkeeper_assets.alerts import facts as facts_module
from callkeeper_assets.alerts.facts import COMMANDS, DiskSpace, Facts, Machine, gather_facts
from callkeeper_assets.alerts.findings import Finding, find_all
from callkeeper_assets.alerts.keys import check_keys
from callkeeper_assets.alerts.texts import tell
from callkeeper_assets.assets.jobs import name_load_job, name_refresh_job
from callkeeper_assets.assets.reconciliation import name_reconciliation_job
from callkeeper_assets.assets.retention import name_retention_job
from callkeeper_assets.config.loading import load_sources
from callkeeper_assets.dagster_ext.dead_runs import SOURCE_TAG
from callkeeper_assets.home import home, set_dagster_home
from callkeeper_assets.postgres import connect
from callkeeper_assets.simulator.server import run_simulator
from callkeeper_assets.simulator.settings import AccountSettings, AnswerSettings
from callkeeper_assets.warehouse.accounts import make_account
from callkeeper_assets.warehouse.loader import log_failure
from callkeeper_assets.webhooks.payload import Delivery
from callkeeper_assets.webhooks.spool import Spool
from callkeeper_assets_tests.alerts.conftest import ACCOUNT, KEY, write_source
from callkeeper_assets_tests.waiting import wait_until
from callkeeper_assets_tests.warehouse.raw_days import call, day_of, fetched, load_all

_QUIET: Any = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
_DAYS = dg.DailyPartitionsDefinition("2026-01-01")
_TABLE = dg.AssetKey(["main_office", "callkeeper_calls"])


def _find(database: str, now: datetime | None = None) -> list[Finding]:
    return find_all(gather_facts(database, *load_sources(), now))


def _kinds(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(one.kind, one.subject) for one in findings]


@pytest.fixture
def instance(defs: Path) -> Iterator[dg.DagsterInstance]:
    """Dagster's instance, on the storage that dagster.yaml names."""
    assert defs.is_dir()
    set_dagster_home()
    with dg.DagsterInstance.get() as made:
        yield made


def _run(
    instance: dg.DagsterInstance, error: str = "", tags: Mapping[str, str] | None = None
) -> dg.ExecuteInProcessResult:
    @dg.op
    def ask() -> None:
        if error:
            raise dg.Failure(description=error, allow_retries=False)

    @dg.job(name="main_office_refresh", tags={SOURCE_TAG: "main_office"})
    def refresh() -> None:
        ask()

    return refresh.execute_in_process(
        instance=instance, run_config=_QUIET, raise_on_error=False, tags=dict(tags or {})
    )


def test_where_all_is_well_nothing_is_found(defs: Path, database: str) -> None:
    assert defs.is_dir()
    assert _find(database) == []


def test_a_failed_run_is_one_cause_however_many_fail_and_ends_with_a_success(
    instance: dg.DagsterInstance, database: str
) -> None:
    _run(instance, "HTTP 403 'Not the correct key api'.")
    failed = _run(instance, f"HTTP 403, api_key={KEY}, of the call of +7 912 345-67-89.")
    (found,) = _find(database)
    assert (found.kind, found.subject, found.is_pending) == (
        "run_failed",
        "main_office_refresh",
        False,
    )
    assert (found.values["runs"], found.values["run_id"]) == (2, failed.run_id)
    told = tell(found, "ru").text
    assert "main_office_refresh: неудачных запусков 2" in told
    assert "HTTP 403, api_key=***" in told
    assert KEY not in told
    assert "912" not in told
    _run(instance)
    assert _find(database) == []


def test_a_run_that_is_tried_again_may_pass_and_a_week_is_long_enough(
    instance: dg.DagsterInstance, database: str
) -> None:
    _run(instance, "no connection")
    instance.add_run(
        dg.DagsterRun(
            job_name="main_office_refresh",
            run_id="6f0c1f52-0000-4000-8000-000000000001",
            status=dg.DagsterRunStatus.NOT_STARTED,
            tags={SOURCE_TAG: "main_office"},
        )
    )
    (found,) = _find(database)
    assert found.is_pending
    assert _find(database, datetime.now(UTC) + timedelta(days=8)) == []


def test_a_run_of_a_backfill_is_not_made_good_by_another_days_one(
    instance: dg.DagsterInstance, database: str
) -> None:
    def tags(day: str) -> dict[str, str]:
        return {
            "dagster/backfill": "abcdefgh",
            "dagster/asset_partition_range_start": day,
            "dagster/asset_partition_range_end": day,
        }

    _run(instance, "cut short", tags("2026-01-01"))
    _run(instance, tags=tags("2026-01-02"))
    assert _kinds(_find(database)) == [("run_failed", "main_office_refresh")]
    _run(instance, tags=tags("2026-01-01"))
    assert _find(database) == []


def test_runs_and_checks_of_others_are_not_ours(
    instance: dg.DagsterInstance, database: str
) -> None:
    @dg.asset(check_specs=[dg.AssetCheckSpec("whole", asset="theirs")])
    def theirs() -> Iterator[Any]:
        yield dg.AssetCheckResult(passed=False)
        raise RuntimeError("theirs")

    job = dg.Definitions(assets=[theirs], jobs=[dg.define_asset_job("theirs_job")]).resolve_job_def(
        "theirs_job"
    )
    job.execute_in_process(instance=instance, run_config=_QUIET, raise_on_error=False)
    assert _find(database) == []


def _check(instance: dg.DagsterInstance, day: str, *, passed: bool, is_error: bool = True) -> None:
    severity = dg.AssetCheckSeverity.ERROR if is_error else dg.AssetCheckSeverity.WARN

    @dg.asset(
        key=_TABLE,
        partitions_def=_DAYS,
        check_specs=[dg.AssetCheckSpec("row_count", asset=_TABLE, partitions_def=_DAYS)],
    )
    def table() -> Iterator[Any]:
        yield dg.MaterializeResult(
            check_results=[
                dg.AssetCheckResult(
                    passed=passed, severity=severity, description=f"3 rows, 4 expected on {day}."
                )
            ]
        )

    job = dg.Definitions(
        assets=[table], jobs=[dg.define_asset_job("load", dg.AssetSelection.all())]
    ).resolve_job_def("load")
    assert job.execute_in_process(instance=instance, partition_key=day, run_config=_QUIET).success


def test_a_check_that_fails_is_one_cause_for_all_its_days_until_each_passes(
    instance: dg.DagsterInstance, database: str
) -> None:
    for day in ("2026-01-02", "2026-01-03"):
        _check(instance, day, passed=False)
    _check(instance, "2026-01-04", passed=False, is_error=False)
    (found,) = _find(database)
    assert (found.kind, found.subject) == (
        "check_failed",
        "main_office/callkeeper_calls/row_count",
    )
    assert (found.values["days"], found.values["last_day"]) == (2, "2026-01-03")
    assert "3 rows, 4 expected on 2026-01-03." in tell(found).text
    _check(instance, "2026-01-02", passed=True)
    (found,) = _find(database)
    assert found.values["days"] == 1
    _check(instance, "2026-01-03", passed=True)
    assert _find(database) == []


def test_checks_are_looked_for_from_a_moment_on_without_reading_what_is_older(
    instance: dg.DagsterInstance, database: str
) -> None:
    """A row of long ago is not found, whichever id it has among the others."""
    for day in range(1, 8):
        _check(instance, f"2026-01-0{day}", passed=False)
    with connect(database) as connection:
        connection.execute(
            "UPDATE dagster.asset_check_executions SET create_timestamp = create_timestamp - %s "
            "WHERE partition < '2026-01-05'",
            (timedelta(days=40),),
        )
    (found,) = _find(database)
    assert (found.values["days"], found.values["last_day"]) == (3, "2026-01-07")


def test_a_day_that_is_missing_is_found_two_hours_after_its_refresh_was_due(
    defs: Path, database: str
) -> None:
    assert defs.is_dir()
    zone = ACCOUNT.time_zone
    load_all(database, [day_of(date(2026, 3, 2), [call(1)], zone)], ACCOUNT)
    due = datetime(2026, 3, 3, 5, 0, tzinfo=zone)
    assert _find(database, due + timedelta(hours=1)) == []
    (found,) = _find(database, due + timedelta(hours=3))
    assert (found.kind, found.severity, found.values["due"]) == (
        "not_fresh",
        "warning",
        "2026-03-03",
    )
    (found,) = _find(database, due + timedelta(days=1, hours=3))
    assert found.severity == "error"


def test_a_failed_load_is_found_once_by_its_run_or_by_the_load_log(
    instance: dg.DagsterInstance, database: str
) -> None:
    log_failure(database, ACCOUNT, [date(2026, 3, 2)], "a run before", "HTTP 500.")
    assert _kinds(_find(database)) == [("load_failed", "main_office")]
    run = _run(instance, "HTTP 500.")
    log_failure(database, ACCOUNT, [date(2026, 3, 2)], run.run_id, "HTTP 500.")
    assert _kinds(_find(database)) == [("run_failed", "main_office_refresh")]


def test_a_failed_load_is_over_once_its_days_are_loaded_by_whichever_job(
    instance: dg.DagsterInstance, database: str
) -> None:
    days = [date(2026, 3, 2), date(2026, 3, 3)]
    tags = {
        "dagster/asset_partition_range_start": str(days[0]),
        "dagster/asset_partition_range_end": str(days[1]),
    }
    load_all(database, [day_of(days[1], [], ACCOUNT.time_zone)], ACCOUNT)
    _run(instance, "HTTP 403.", tags)
    for day in days:
        assert ("run_failed", "main_office_refresh") in _kinds(_find(database))
        loaded = day_of(day, [call(day.day)], ACCOUNT.time_zone)
        load_all(database, [fetched(loaded, datetime.now(UTC))], ACCOUNT)
    assert "run_failed" not in dict(_kinds(_find(database)))


def test_what_webhooks_brought_retention_deleted_or_was_rebuilt_makes_no_load_good(
    instance: dg.DagsterInstance, database: str
) -> None:
    day = date(2026, 3, 2)
    load_all(database, [day_of(day, [call(1)], ACCOUNT.time_zone)], ACCOUNT)
    _run(instance, "HTTP 403.", {"dagster/partition": str(day)})
    for origin in ("webhook", "retention"):
        with connect(database) as connection:
            connection.execute(
                "INSERT INTO callkeeper_loads (account_id, table_name, day, origin, rows_added, "
                "rows_updated, rows_deleted, started_at, finished_at, run_id, fetched_at) "
                "SELECT account_id, 'callkeeper_calls', day, %s, 1, 0, 0, now(), now(), 'later', "
                "now() FROM callkeeper_loads LIMIT 1",
                (origin,),
            )
    # Nor what is built anew from raw calls of before.
    rebuilt = day_of(day, [call(1), call(2)], ACCOUNT.time_zone)
    load_all(database, [fetched(rebuilt, datetime.now(UTC) - timedelta(hours=1))], ACCOUNT)
    assert ("run_failed", "main_office_refresh") in _kinds(_find(database))


def test_the_command_that_does_it_again_is_that_of_the_job() -> None:
    made = {
        name_load_job: "load",
        name_refresh_job: "refresh",
        name_reconciliation_job: "reconcile",
        name_retention_job: "retain",
    }
    assert {name("office"): command for name, command in made.items()} == {
        f"office_{kind}": command for kind, command in COMMANDS.items()
    }


def test_lost_webhooks_are_found_for_two_days_and_waiting_ones_after_an_hour(
    defs: Path, database: str
) -> None:
    assert defs.is_dir()
    now = datetime.now(UTC)
    with connect(database) as connection:
        make_account(connection, "main_office")
        connection.execute(
            """
            INSERT INTO callkeeper_lost_webhooks (
                account_id, day, call_id, position, kind, is_held, found_at, run_id
            )
            SELECT a.account_id, '2026-03-01', n, 0, 'lost', n = 3, now(), 'run'
            FROM general_accounts AS a, generate_series(1, 3) AS n
            """
        )
        connection.execute(
            """
            INSERT INTO callkeeper_webhooks (
                account_id, received_at, format, body, digest, receipt, state
            )
            SELECT a.account_id, now() - interval '2 hours', 'json', '', 'digest',
                gen_random_uuid(), 'new'
            FROM general_accounts AS a
            """
        )
    lost, waiting = _find(database, now)
    assert (lost.kind, lost.values["lost"], lost.values["refused"]) == ("webhooks_lost", 2, 1)
    assert (waiting.kind, waiting.values["count"]) == ("webhooks_waiting", 1)
    assert _kinds(_find(database, now + timedelta(days=3))) == [("webhooks_waiting", "main_office")]


def test_webhooks_that_a_receiver_keeps_on_disk_are_found(defs: Path, database: str) -> None:
    assert defs.is_dir()
    spool = Spool(home() / "spool")
    now = datetime.now(UTC)
    spool.append([Delivery("main_office", bytes([n]) * 16, now, "json", b"{}") for n in (1, 2)])
    (found,) = _find(database)
    assert (found.kind, found.values["count"]) == ("receiver_spooling", 2)
    assert found.place == Machine(os.uname().nodename).name
    spool.close()


def test_a_source_that_is_refused_and_one_without_its_key_are_found(
    defs: Path, database: str
) -> None:
    write_source(defs, "branch", "tabels: []")
    write_source(defs, "shop")
    refused, missing = sorted(_find(database), key=lambda one: one.kind, reverse=True)
    assert (refused.kind, refused.subject) == ("source_refused", "branch")
    assert "tabels" in tell(refused).text
    assert (missing.kind, missing.values["variable"]) == ("key_missing", "SHOP_API_KEY")


def test_a_key_is_asked_after_once_a_day_and_each_hour_while_it_is_refused(
    defs: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    soon = datetime.now(UTC) + timedelta(days=5)
    account = AccountSettings(key=KEY, name="main", calls_per_day=1)
    with run_simulator([account], answers=AnswerSettings(paid_till=soon)) as simulator:
        file = write_source(defs, "main_office")
        text = file.read_text().replace("http://127.0.0.1:9", simulator.base_url)
        file.write_text(text)
        assert check_keys(database, load_sources()[0], []) == 0, "nothing of it was ever loaded"
        with connect(database) as connection:
            make_account(connection, "main_office")
        assert check_keys(database, load_sources()[0], []) == 1
        assert check_keys(database, load_sources()[0], ["main_office"]) == 0
        (found,) = _find(database)
        assert (found.kind, found.severity) == ("key_expires", "warning")
        monkeypatch.setenv("MAIN_OFFICE_API_KEY", "f" * 32)
        _let_pass(database, timedelta(hours=2))
        assert check_keys(database, load_sources()[0], []) == 0
        assert check_keys(database, load_sources()[0], ["main_office"]) == 1
        (found,) = _find(database)
        assert (found.kind, found.severity) == ("key_refused", "error")
        assert "Check the key in the environment variable MAIN_OFFICE_API_KEY: the source" in (
            tell(found).text
        )
        load_all(database, [day_of(date(2026, 3, 2), [call(1)], ACCOUNT.time_zone)], ACCOUNT)
        just_then = datetime(2026, 3, 2, 12, tzinfo=UTC)
        with connect(database) as connection:
            connection.execute(
                "UPDATE callkeeper_keys SET checked_at = %s, paid_till = NULL", (just_then,)
            )
        assert _find(database, just_then) == [], "a load has proved it"
        with connect(database) as connection:
            connection.execute("UPDATE callkeeper_keys SET checked_at = now()")
            connection.execute("DELETE FROM callkeeper_loads")
            connection.execute("DELETE FROM callkeeper_days")
        monkeypatch.setenv("MAIN_OFFICE_API_KEY", KEY)
        _let_pass(database, timedelta(hours=2))
        assert check_keys(database, load_sources()[0], []) == 1
        assert _kinds(_find(database)) == [("key_expires", "main_office")]


def _let_pass(database: str, time: timedelta) -> None:
    with connect(database) as connection:
        connection.execute("UPDATE callkeeper_keys SET checked_at = checked_at - %s", (time,))


def test_a_daemon_that_gives_no_sign_of_life_is_found_and_one_that_never_ran_is_not(
    instance: dg.DagsterInstance, database: str
) -> None:
    assert instance.is_persistent
    assert _find(database) == []
    with connect(database) as connection:
        connection.execute(
            """
            INSERT INTO dagster.daemon_heartbeats (daemon_type, daemon_id, timestamp)
            SELECT one, 'id', now() AT TIME ZONE 'UTC'
            FROM unnest(ARRAY['SCHEDULER', 'SENSOR', 'QUEUED_RUN_COORDINATOR', 'ASSET']) AS one
            """
        )
    assert _find(database) == []
    # One part of it is stuck.
    with connect(database) as connection:
        connection.execute(
            "UPDATE dagster.daemon_heartbeats SET timestamp = timestamp - interval '10 minutes' "
            "WHERE daemon_type = 'SENSOR'"
        )
    assert _kinds(_find(database)) == [("daemon_away", "daemon")]


def test_a_database_nearly_out_of_connections_is_found(defs: Path, database: str) -> None:
    assert defs.is_dir()
    facts = gather_facts(database, *load_sources())

    def sees_two_more() -> bool:
        # Tests beside this one open and close connections to the same server.
        before = gather_facts(database, *load_sources()).connections
        with psycopg.connect(database), closing(psycopg.connect(database)):
            more = gather_facts(database, *load_sources()).connections
        assert before is not None
        assert more is not None
        return (more.used >= before.used + 2, more.most) == (True, before.most)

    wait_until(sees_two_more, "two connections more are counted")
    crowded = Facts(
        facts.now,
        (),
        (),
        Machine("here"),
        is_complete=True,
        connections=facts_module.Connections(86, 100),
    )
    assert _kinds(find_all(crowded)) == [("connections_low", "database")]


def test_a_disk_is_found_when_its_share_and_its_bytes_are_few(home: Path) -> None:
    gigabyte = 10**9

    def rate(free: float, total: float) -> list[str]:
        disk = DiskSpace("/home", int(free * gigabyte), int(total * gigabyte))
        facts = Facts(datetime.now(UTC), (), (), Machine("here", (disk,)))
        return [one.severity for one in find_all(facts)]

    assert rate(50, 1000) == []
    assert rate(0.5, 2) == []
    assert rate(4, 50) == ["warning"]
    assert rate(1, 50) == ["error"]
    home.mkdir(parents=True)
    (disk,) = facts_module.look_at_machine().disks
    assert disk.total == shutil.disk_usage(home).total
