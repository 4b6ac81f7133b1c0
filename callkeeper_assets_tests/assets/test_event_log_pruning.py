"""The job that keeps Dagster's event log small, on the storage that dagster.yaml names."""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from callkeeper_assets.assets import build_source_definitions
from callkeeper_assets.assets.build import build_event_log_pruning
from callkeeper_assets.assets.days import build_range_tags
from callkeeper_assets.config.loading import load_sources
from callkeeper_assets.config.source import Source
from callkeeper_assets.dagster_ext import pruning
from callkeeper_assets.home import set_dagster_home
from callkeeper_assets.postgres import connect
from callkeeper_assets.simulator.server import run_simulator
from callkeeper_assets.simulator.settings import AccountSettings
from callkeeper_assets_tests.chaos.installation import KEY

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
DAY = dg.DailyPartitionsDefinition("2026-01-01")
SOURCE = "north"
CHECK = dg.AssetCheckKey(dg.AssetKey(["office", "calls"]), "whole")


@dg.multi_asset_check(specs=[dg.AssetCheckSpec("whole", asset=["office", "calls"])])
def whole() -> Iterator[dg.AssetCheckResult]:
    yield dg.AssetCheckResult(passed=True)


@dg.asset(key=["office", "calls"], partitions_def=DAY)
def calls(context: dg.AssetExecutionContext) -> None:
    context.log.info("fetched")


@dg.op
def merge(context: dg.OpExecutionContext) -> None:
    context.log.info("merged")


@dg.job
def webhook_inbox() -> None:
    merge()


@pytest.fixture
def instance(database: str, home: Path) -> Iterator[dg.DagsterInstance]:
    """A day loaded, and webhooks merged, twice: long ago and now."""
    assert database
    assert home.name
    set_dagster_home()
    load = dg.define_asset_job("load", dg.AssetSelection.all())
    definitions = dg.Definitions(assets=[calls], asset_checks=[whole], jobs=[load])
    with dg.DagsterInstance.get() as made:
        for partition, age in (("2026-01-01", 100), ("2026-01-02", 0)):
            job = definitions.resolve_job_def("load")
            assert job.execute_in_process(
                instance=made, partition_key=partition, run_config=QUIET
            ).success
            assert webhook_inbox.execute_in_process(instance=made, run_config=QUIET).success
            if age:
                _make_old(timedelta(days=age))
        yield made


def _make_old(age: timedelta) -> None:
    with connect() as connection:
        connection.execute("UPDATE dagster.event_logs SET timestamp = timestamp - %s", (age,))
        connection.execute(
            "UPDATE dagster.runs SET create_timestamp = create_timestamp - %s", (age,)
        )


def _prune(
    instance: dg.DagsterInstance, sources: Sequence[Source] = ()
) -> dg.ExecuteInProcessResult:
    job = build_event_log_pruning(sources=sources).resolve_job_def("event_log_pruning")
    return job.execute_in_process(instance=instance, run_config=QUIET, raise_on_error=False)


def _count(instance: dg.DagsterInstance, job: str) -> list[int]:
    """Events of each run of a job, the oldest run first."""
    runs = instance.get_runs(dg.RunsFilter(job_name=job))
    return [len(instance.all_logs(run.run_id)) for run in reversed(runs)]


def _read_checks(instance: dg.DagsterInstance) -> list[int]:
    storage = instance.event_log_storage
    return [one.id for one in storage.get_asset_check_execution_history(CHECK, limit=10)]


def test_old_merges_go_and_old_loads_keep_their_days_and_checks(
    instance: dg.DagsterInstance,
) -> None:
    before, checks = _count(instance, "load"), _read_checks(instance)
    assert _prune(instance).success
    (old, new) = _count(instance, "load")
    assert 0 < old < before[0]
    assert new == before[1]
    assert len(_count(instance, "webhook_inbox")) == 1
    assert instance.get_materialized_partitions(dg.AssetKey(["office", "calls"])) == {
        "2026-01-01",
        "2026-01-02",
    }
    (run, _) = reversed(instance.get_runs(dg.RunsFilter(job_name="load")))
    kinds = {log.dagster_event_type for log in instance.all_logs(run.run_id)}
    assert dg.DagsterEventType.RUN_SUCCESS in kinds
    assert dg.DagsterEventType.STEP_START not in kinds
    assert _read_checks(instance) == checks
    again = _count(instance, "load")
    assert _prune(instance).success
    assert _count(instance, "load") == again


def test_the_days_are_the_user_s(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _count(instance, "load"), _count(instance, "webhook_inbox")
    monkeypatch.setenv("CALLKEEPER_RUN_LOG_DAYS", "300")
    monkeypatch.setenv("CALLKEEPER_WEBHOOK_RUN_DAYS", "300")
    assert _prune(instance).success
    assert (_count(instance, "load"), _count(instance, "webhook_inbox")) == before
    monkeypatch.setenv("CALLKEEPER_RUN_LOG_DAYS", "many")
    failed = _prune(instance)
    (text,) = [
        event.step_failure_data.user_failure_data.description
        for event in failed.all_events
        if event.is_step_failure and event.step_failure_data.user_failure_data
    ]
    assert text == "CALLKEEPER_RUN_LOG_DAYS must be a number of days, from 1 to 36500."


def test_retention_s_days_go_from_the_grid_too(instance: dg.DagsterInstance) -> None:
    """Dagster keeps what the grid of days shows beside the events, and would not look again."""
    key = dg.AssetKey(["office", "calls"])
    storage = instance.event_log_storage
    assert instance.get_materialized_partitions(key) == {"2026-01-01", "2026-01-02"}
    counted = storage.delete_days(["office"], "2026-01-02", dry_run=True)  # type: ignore[attr-defined]
    assert counted > (0, 0)
    assert instance.get_materialized_partitions(key) == {"2026-01-01", "2026-01-02"}
    assert storage.delete_days(["offic"], "2026-01-02", dry_run=False) == (0, 0)  # type: ignore[attr-defined]
    assert storage.delete_days(["office"], "2026-01-02", dry_run=False) == counted  # type: ignore[attr-defined]
    assert instance.get_materialized_partitions(key) == {"2026-01-02"}


FIRST, MOST_KEPT = date(2026, 1, 1), 30_000
_SIZES = {
    "event_logs": "timestamp",
    "asset_check_executions": "evaluation_event_timestamp",
    "asset_event_tags": "event_timestamp",
    "runs": "create_timestamp",
    "run_tags": None,
}


@pytest.fixture
def refreshed(
    database: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[dg.DagsterInstance, Source, int]]:
    """A source refreshed on four mornings, four days each time, and once in vain; long ago."""
    assert database
    folder = home / "defs" / SOURCE
    folder.mkdir(parents=True)
    monkeypatch.setenv("CALLKEEPER_DEFS", str(folder.parent))
    monkeypatch.setenv("OFFICE_API_KEY", KEY)
    set_dagster_home()
    with (
        run_simulator([AccountSettings(key=KEY, name=SOURCE, calls_per_day=5)]) as simulator,
        dg.DagsterInstance.get() as made,
    ):
        (folder / "defs.yaml").write_text(
            "type: callkeeper_assets.CallKeeperSource\n"
            "attributes: {caption: Office, api_key: {env: OFFICE_API_KEY}, "
            f"base_url: '{simulator.base_url}', time_zone: Europe/Moscow, "
            "start_date: 2025-01-01}\n"
        )
        ((source,), _) = load_sources()
        job = build_source_definitions(source).resolve_job_def(f"{SOURCE}_refresh")
        refreshes = 4
        for number in range(refreshes + 1):
            if number == refreshes:
                monkeypatch.setenv("OFFICE_API_KEY", "")
            days = FIRST + timedelta(days=number), FIRST + timedelta(days=number + 3)
            done = job.execute_in_process(
                instance=made,
                tags=build_range_tags(*days),
                run_config=QUIET,
                raise_on_error=False,
            )
            assert done.success == (number < refreshes)
        with connect(autocommit=True) as connection:
            for table, column in _SIZES.items():
                if column:
                    connection.execute(
                        f"UPDATE dagster.{table} "
                        f"SET {column} = {column} - interval '100 days'".encode()
                    )
        yield made, source, refreshes


def _read_what_the_ui_shows(instance: dg.DagsterInstance, source: Source) -> dict[str, Any]:
    """What its pages of assets, days, checks and runs are made of."""
    storage: Any = instance.event_log_storage
    records = instance.get_asset_records()
    keys = [record.asset_entry.asset_key for record in records]
    with connect() as connection:
        rows = connection.execute(
            "SELECT DISTINCT asset_key, check_name FROM dagster.asset_check_executions"
        ).fetchall()
    checks = [
        dg.AssetCheckKey(dg.AssetKey(json.loads(str(asset))), str(name)) for asset, name in rows
    ]
    latest = storage.get_latest_asset_check_execution_by_key(checks)
    find_missing = (
        storage.get_latest_asset_partition_materialization_attempts_without_materializations
    )
    assert any(key.path[0] == source.name for key in keys)
    return {
        "assets": {
            one.asset_entry.asset_key: one.asset_entry.last_materialization for one in records
        },
        "partitions": {key: instance.get_materialized_partitions(key) for key in keys},
        "of each day": {
            key: storage.get_latest_storage_id_by_partition(
                key, dg.DagsterEventType.ASSET_MATERIALIZATION
            )
            for key in keys
        },
        "data versions": {
            key: storage.get_latest_tags_by_partition(
                key, dg.DagsterEventType.ASSET_MATERIALIZATION, ["dagster/data_version"]
            )
            for key in keys
        },
        "failed or under way": {key: find_missing(key) for key in keys},
        "newest plan": {key: storage.get_latest_planned_materialization_info(key) for key in keys},
        "checks": latest,
        "their last results": storage.get_asset_check_summary_records(checks),
        "checks of each day": sorted(
            info
            for info in storage.get_asset_check_partition_info(checks)
            if info.partition_key is not None
        ),
        "runs": [
            (run.run_id, run.status)
            for run in instance.get_runs(dg.RunsFilter(job_name=f"{source.name}_refresh"))
        ],
    }


def _measure() -> dict[str, int]:
    """Bytes of rows of refreshes that went well, by table: of the other one its plan stays."""
    with connect() as connection:
        found = {
            table: connection.execute(
                f"SELECT coalesce(sum(pg_column_size(t.*)), 0)::bigint FROM dagster.{table} AS t "
                "WHERE NOT to_jsonb(t) ? 'run_id' OR to_jsonb(t)->>'run_id' IN ("
                "SELECT run_id FROM dagster.runs "
                "WHERE pipeline_name = %s AND status = 'SUCCESS')".encode(),
                (f"{SOURCE}_refresh",),
            ).fetchone()
            for table in _SIZES
        }
    return {table: int(str(row[0])) for table, row in found.items() if row}


def test_a_refresh_of_long_ago_keeps_little_and_the_ui_shows_what_it_showed(
    refreshed: tuple[dg.DagsterInstance, Source, int],
) -> None:
    instance, source, refreshes = refreshed
    before, shown = _measure(), _read_what_the_ui_shows(instance, source)
    assert sum(before.values()) / refreshes > 200_000
    assert _prune(instance, [source]).success
    after = _measure()
    # The first refresh alone has three days that no later one has read.
    days = refreshes + 3
    assert sum(after.values()) / days < MOST_KEPT, after
    assert _read_what_the_ui_shows(instance, source) == shown
    assert _prune(instance, [source]).success
    assert _measure() == after


def test_of_assets_of_others_nothing_is_deleted_and_of_ours_piece_by_piece(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "_ROWS_AT_ONCE", 1)
    storage: Any = instance.event_log_storage
    job = dg.Definitions(assets=[calls], jobs=[dg.define_asset_job("load")]).resolve_job_def("load")
    assert job.execute_in_process(
        instance=instance, partition_key="2026-01-01", run_config=QUIET
    ).success
    _make_old(timedelta(days=100))
    key = dg.AssetKey(["office", "calls"])
    count = len(instance.fetch_materializations(key, limit=10).records)
    assert count == 3
    assert sum(storage.delete_superseded([(["offic"], [])], datetime.now(UTC))) == 0
    assert len(instance.fetch_materializations(key, limit=10).records) == count
    pieces = list(storage.delete_superseded([(["office"], [])], datetime.now(UTC)))
    assert max(pieces) == 1
    assert len(instance.fetch_materializations(key, limit=10).records) == 2
