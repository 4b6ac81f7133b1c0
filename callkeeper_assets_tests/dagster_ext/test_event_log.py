"""What the event log keeps of a run is what Dagster's own storage would have kept."""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

import dagster as dg
import pytest
from dagster_postgres import PostgresEventLogStorage

from callkeeper_assets.dagster_ext.event_log import BatchingEventLogStorage
from callkeeper_assets.home import set_dagster_home
from callkeeper_assets.postgres.url import connect

_DAYS = dg.DailyPartitionsDefinition("2026-01-01", end_date="2026-01-09")
_RANGE = {
    "dagster/asset_partition_range_start": "2026-01-02",
    "dagster/asset_partition_range_end": "2026-01-04",
}
_EVENTS = """
    SELECT id, dagster_event_type, step_key, asset_key, partition, event
    FROM dagster.event_logs WHERE run_id = %s ORDER BY id
"""
_TAGS = "SELECT event_id, key, value FROM dagster.asset_event_tags ORDER BY event_id, key"
_ASSETS = """
    SELECT asset_key, last_materialization::json->>'storage_id',
        last_materialization_timestamp IS NOT NULL, asset_details
    FROM dagster.asset_keys WHERE last_run_id = %s
"""
_CHECKS = """
    SELECT asset_key, check_name, partition, execution_status, evaluation_event_storage_id,
        materialization_event_storage_id,
        evaluation_event::json#>>'{dagster_event,event_type_value}',
        evaluation_event_timestamp IS NOT NULL
    FROM dagster.asset_check_executions WHERE run_id = %s
"""


@dg.multi_asset(
    specs=[
        dg.AssetSpec("calls", code_version="1"),
        dg.AssetSpec("facts", code_version="1", deps=["calls"]),
    ],
    check_specs=[
        dg.AssetCheckSpec("whole", asset="calls", partitions_def=_DAYS),
        dg.AssetCheckSpec("sums", asset="facts", partitions_def=_DAYS),
    ],
    partitions_def=_DAYS,
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def _tables(context: dg.AssetExecutionContext) -> Iterator[Any]:
    for name in ("calls", "facts"):
        yield dg.MaterializeResult(asset_key=name, metadata={"rows": 1})
    context.log.info("loaded")
    yield dg.AssetObservation("other", tags={"seen": "by_us"})
    yield dg.AssetMaterialization("beside", partition="2026-01-02", tags={"kind": "single"})
    for asset, name, passed in (("calls", "whole", True), ("facts", "sums", False)):
        yield dg.AssetCheckResult(asset_key=asset, check_name=name, passed=passed)


@dg.asset(
    deps=["facts"], code_version="1", check_specs=[dg.AssetCheckSpec("positive", asset="_total")]
)
def _total() -> Iterator[Any]:
    yield dg.MaterializeResult(check_results=[dg.AssetCheckResult(passed=True)])


def _sorted(rows: Iterable[Any]) -> list[Any]:
    return sorted(rows, key=repr)


def _describe(event: str) -> object:
    """Return what a person sees of an event, without its run and times."""
    read = json.loads(event)
    about: dict[str, Any] = read["dagster_event"] or {}
    message = read["user_message"] or about["message"]
    # Process and duration.
    return read["level"], re.sub(r"\d+(?:\.\d+)?(?=m?s\b|\))", "#", message), about.get("step_key")


def _read_kept(run_id: str) -> dict[str, list[Any]]:
    with connect() as connection:
        events = connection.execute(_EVENTS, (run_id,)).fetchall()
        # An event is named by what it is about, as its number is another one in each run.
        names = {row[0]: tuple(row[1:5]) for row in events}
        numbers = {str(number): name for number, name in names.items()}

        def name(value: object) -> object:
            return numbers.get(str(value), value)

        return {
            "events": _sorted((names[row[0]], _describe(str(row[5]))) for row in events),
            "tags": _sorted(
                (names[event_id], key, name(value))
                for event_id, key, value in connection.execute(_TAGS).fetchall()
                if event_id in names
            ),
            "assets": _sorted(
                (key, name(newest), *rest)
                for key, newest, *rest in connection.execute(_ASSETS, (run_id,)).fetchall()
            ),
            "checks": _sorted(
                (*row[:4], name(row[4]), name(row[5]), *row[6:])
                for row in connection.execute(_CHECKS, (run_id,)).fetchall()
            ),
        }


def _run() -> dict[str, list[Any]]:
    """Run a job of some days and one without; return what is kept of both."""
    kept = []
    for assets, tags in (([_tables], _RANGE), ([_total], {})):
        with dg.DagsterInstance.get() as instance:
            assert isinstance(instance.event_log_storage, BatchingEventLogStorage)
            job = dg.Definitions(
                assets=[_tables, _total], jobs=[dg.define_asset_job("some_of_it", assets)]
            ).resolve_job_def("some_of_it")
            assert job.execute_in_process(instance=instance, tags=tags).success
            kept.append(_read_kept(instance.get_runs(limit=1)[0].run_id))
    first, second = kept
    return {table: [*first[table], *second[table]] for table in first}


@pytest.mark.usefixtures("database", "home")
def test_a_run_leaves_in_dagsters_tables_what_dagsters_own_storage_leaves(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    set_dagster_home()
    _run()  # what a second run finds of a first one is alike for both
    ours = _run()
    for name in ("store_event", "store_event_batch"):
        monkeypatch.setattr(BatchingEventLogStorage, name, getattr(PostgresEventLogStorage, name))
    theirs = _run()
    # Two checks are planned for three days each, and have a result of all; of one it is its plan.
    assert len(ours["checks"]) == 9
    for table, rows in theirs.items():
        assert ours[table] == rows, table
    assert "storing event batch" not in "".join(capfd.readouterr()), "Dagster fell back to singles"
