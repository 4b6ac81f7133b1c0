"""The job that keeps Dagster's event log small, on the storage that dagster.yaml names."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest

from callkeeper_assets.assets.build import build_event_log_pruning
from callkeeper_assets.home import set_dagster_home
from callkeeper_assets.postgres import connect

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
DAY = dg.DailyPartitionsDefinition("2026-01-01")
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


def _prune(instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    job = build_event_log_pruning().resolve_job_def("event_log_pruning")
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
