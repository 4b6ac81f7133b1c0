"""Dagster's storage as `dagster.yaml` of this project sets it up, on a real database."""

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import dagster as dg
import pytest

from callkeeper_assets.dagster_ext.storage import storage_url
from callkeeper_assets.home import project_root, set_dagster_home
from callkeeper_assets.postgres import connect
from callkeeper_assets_tests.templates import Template

# The processes are forked when everything is imported, so that they reach the database together.
_RACE = """
import os, sys
import dagster as dg
import dagster_postgres
import callkeeper_assets.dagster_ext.storage
children = []
for _ in range(6):
    child = os.fork()
    if not child:
        try:
            with dg.DagsterInstance.get() as instance:
                instance.add_dynamic_partitions("days", [str(os.getpid())])
            os._exit(0)
        except BaseException as error:
            print(type(error), error, file=sys.stderr, flush=True)
            os._exit(1)
    children.append(child)
sys.exit(max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))
"""


@pytest.fixture(scope="session")
def template() -> Template:
    """No table yet: who opens the storage first makes them."""
    return Template.EMPTY


def _tables() -> dict[str, int]:
    with connect() as connection:
        rows = connection.execute(
            "SELECT schemaname, count(*) FROM pg_tables "
            "WHERE schemaname NOT IN ('pg_catalog', 'information_schema') GROUP BY 1"
        ).fetchall()
    return {str(schema): int(str(count)) for schema, count in rows}


def test_six_processes_that_meet_on_an_empty_database_all_get_their_storage(database: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", _RACE],
        env={
            **os.environ,
            "DAGSTER_HOME": str(project_root()),
            "CALLKEEPER_DATABASE_URL": database,
        },
        cwd=project_root(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert "Retrying" not in run.stderr
    assert list(_tables()) == ["dagster"], "the warehouse's schema stays free of Dagster's tables"
    with connect() as connection:
        row = connection.execute("SELECT count(*) FROM dagster.dynamic_partitions").fetchone()
    assert row == (6,)


# The process is killed when Dagster has made the first tables of its event log.
_KILLED = """
import os, signal
import dagster as dg
import sqlalchemy as sa
import callkeeper_assets.dagster_ext.storage

@sa.event.listens_for(sa.Engine, "after_cursor_execute")
def look(_connection, _cursor, statement, *_more):
    if "CREATE TABLE event_logs" in statement:
        os.kill(os.getpid(), signal.SIGKILL)

dg.DagsterInstance.get()
"""


def test_who_is_killed_while_making_the_tables_leaves_it_to_the_next(database: str) -> None:
    """Dagster looks for one of its tables, and would be without the others for ever."""
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(project_root()),
        "CALLKEEPER_DATABASE_URL": database,
    }
    for program, code in ((_KILLED, -9), (_RACE, 0)):
        run = subprocess.run(
            [sys.executable, "-c", program],
            env=environment,
            cwd=project_root(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == code, run.stderr
    with connect() as connection:
        row = connection.execute("SELECT count(*) FROM dagster.asset_check_executions").fetchone()
    assert row == (0,)
    assert sorted(_tables()) == ["dagster"]


@pytest.mark.usefixtures("database")
def test_the_instance_is_what_dagster_yaml_says_with_no_variable_set(home: Path) -> None:
    assert set_dagster_home() == project_root()
    with dg.DagsterInstance.get() as instance:
        assert type(instance.run_coordinator).__name__ == "RoomyRunCoordinator"
        concurrency = instance.get_concurrency_config()
        assert concurrency.pool_config.default_pool_limit == 1
        assert concurrency.pool_config.pool_granularity is not None
        assert concurrency.pool_config.pool_granularity.value == "op"
        assert instance.run_monitoring_enabled
        assert instance.get_settings("telemetry") == {"enabled": False}
        with instance.compute_log_manager.capture_logs(["a run", "compute_logs", "step"]):
            pass
    assert [path.stem for path in (home / "logs").rglob("*.out")] == ["step"]


def test_options_that_a_url_has_already_are_kept() -> None:
    url = "postgresql://u:p%40@h:5432/d?sslmode=require&options=-c%20work_mem%3D9MB"
    made = urlsplit(storage_url(url))
    assert (made.netloc, made.path) == ("u:p%40@h:5432", "/d")
    query = dict(parse_qsl(made.query))
    assert (query["sslmode"], query["client_encoding"]) == ("require", "UTF8")
    assert query["options"].startswith("-c work_mem=9MB -c ")
    assert query["options"].endswith(" -c search_path=dagster")


_DAYS = dg.DailyPartitionsDefinition("2026-01-01", end_date="2026-01-04")
_PLANNED, _MADE = "ASSET_MATERIALIZATION_PLANNED", "ASSET_MATERIALIZATION"


@dg.asset(partitions_def=_DAYS, backfill_policy=dg.BackfillPolicy.single_run())
def _calls(context: dg.AssetExecutionContext) -> None:
    for day in context.partition_keys:
        context.add_asset_metadata({"rows": 1}, partition_key=day)


@pytest.mark.usefixtures("database", "home")
def test_events_of_several_days_are_written_at_once_in_their_order(
    capfd: pytest.CaptureFixture[str],
) -> None:
    set_dagster_home()
    tags = {
        "dagster/asset_partition_range_start": "2026-01-01",
        "dagster/asset_partition_range_end": "2026-01-03",
    }
    with dg.DagsterInstance.get() as instance:
        assert dg.materialize([_calls], instance=instance, tags=tags).success
    assert "storing event batch" not in "".join(capfd.readouterr()), "Dagster fell back to singles"
    with connect() as connection:
        rows = connection.execute(
            "SELECT dagster_event_type, array_agg(partition::text ORDER BY id), array_agg(coalesce("
            "data->>'partition', data->'materialization'->>'partition') ORDER BY id) "
            "FROM dagster.event_logs, "
            "LATERAL (SELECT event::json #> '{dagster_event,event_specific_data}' AS data) AS p "
            "WHERE asset_key IS NOT NULL GROUP BY 1 ORDER BY 1"
        ).fetchall()
    days = ["2026-01-01", "2026-01-02", "2026-01-03"]
    assert rows == [(_MADE, days, days), (_PLANNED, days, days)]
