"""An installation made by an older version becomes what a fresh load makes of the same raw calls.

The old one is stored as files beside this test; what is compared is everything a reader can see.
"""

import time
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

import dagster as dg
import psycopg
import pytest

from callkeeper_assets.assets import build_shared_definitions, build_source_definitions
from callkeeper_assets.assets.days import build_range_tags
from callkeeper_assets.backup.making import make_backup
from callkeeper_assets.backup.place import Place
from callkeeper_assets.backup.restoring import restore_backup
from callkeeper_assets.config.loading import load_sources
from callkeeper_assets.postgres.url import connect
from callkeeper_assets.raw.store import RawStore
from callkeeper_assets.warehouse.migrate import HEAD, ensure_schema
from callkeeper_assets_tests.cli.conftest import callkeeper, started
from callkeeper_assets_tests.contents import read_all
from callkeeper_assets_tests.raw.stored import stored_ids
from callkeeper_assets_tests.templates import MakeDatabase, Template
from callkeeper_assets_tests.upgrade.conftest import Installation

_FIRST, _LAST = date(2026, 1, 10), date(2026, 1, 12)
_INBOX: Final = "SELECT id, state, body, call_id, reason FROM callkeeper_webhooks ORDER BY 1"


@pytest.fixture
def fresh(
    environment: Path, old: Installation, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Installation]:
    """The same raw calls, loaded into an empty database."""
    server, name = old.url.rpartition("/")[0], f"fresh_{uuid.uuid4().hex}"
    with connect(old.url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    with monkeypatch.context() as patched, dg.DagsterInstance.ephemeral() as instance:
        patched.setenv("CALLKEEPER_DATABASE_URL", f"{server}/{name}")
        for source in load_sources()[0]:
            definitions = dg.Definitions.merge(
                build_shared_definitions([source]), build_source_definitions(source)
            )
            tables = [dg.AssetKey([source.name, table]) for table in source.tables]
            for job, assets in (("historic_load", tables), ("reports", None)):
                done = definitions.resolve_job_def(f"{source.name}_{job}").execute_in_process(
                    instance=instance,
                    tags=build_range_tags(_FIRST, _LAST),
                    asset_selection=assets,
                    run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
                )
                assert done.success
    yield Installation(f"{server}/{name}", RawStore(str(environment / "raw")))
    with connect(old.url, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def test_a_rebuilt_installation_is_as_a_fresh_load(old: Installation, fresh: Installation) -> None:
    inbox = old.fetch(_INBOX)
    wrong = old.call(7)
    assert (wrong[1]["duration_sec"], wrong[1]["duration2_sec"]) == (152, None)
    status = callkeeper("status")
    assert "moved: 3 days filled by an older version of this program: callkeeper rebuild moved" in (
        status.out
    )
    done = callkeeper("rebuild")
    assert done.code == 0, done.out + done.err
    assert old.describe() == fresh.describe()
    assert old.fetch(_INBOX) == inbox
    right = old.call(7)
    assert (right[1]["duration_sec"], right[1]["duration2_sec"]) == (None, 152)
    assert (right[1]["duration_min"], right[1]["duration2_min"]) == (None, 3)
    assert "older version" not in callkeeper("status").out


def test_ids_of_callbacks_and_call_tracking_stay_and_imported_calls_get_their_own(
    old: Installation,
) -> None:
    ids = "SELECT call_id, service FROM callkeeper_calls ORDER BY 1"
    before = old.fetch(ids)
    with started("rebuild", is_warm=True) as process:
        # Killed at any moment, the next one goes on.
        time.sleep(1)
        process.kill()
    again = callkeeper("rebuild")
    assert again.code == 0, again.err
    after, loads = old.fetch(ids), old.last_load()
    kept = [row for row in before if row[1] != "import"]
    assert [row for row in after if row[1] != "import"] == kept
    imported = [call_id for call_id, service in after if service == "import"]
    assert len(imported) == len(before) - len(kept)
    assert not set(imported) & {call_id for call_id, _ in before}
    for day in old.store.list_days("moved"):
        assert stored_ids(old.store, "moved", day) <= {call_id for call_id, _ in after}
    assert callkeeper("rebuild").code == 0
    assert old.last_load() == loads, "what is rebuilt is not rebuilt again"


def test_the_schedule_of_the_refresh_rebuilds_without_asking_the_source(
    old: Installation,
) -> None:
    source = next(one for one in load_sources()[0] if one.name == "moved")
    definitions = dg.Definitions.merge(
        build_shared_definitions([source]), build_source_definitions(source)
    )
    schedule = definitions.resolve_schedule_def("moved_refresh")
    tick = datetime(2026, 1, 14, 2, tzinfo=UTC)

    def plan() -> list[dg.RunRequest]:
        with dg.build_schedule_context(scheduled_execution_time=tick) as context:
            return list(schedule.evaluate_tick(context).run_requests or [])

    rebuild, *refresh = plan()
    assert rebuild.asset_selection is not None
    assert dg.AssetKey(["moved", "raw_calls"]) not in rebuild.asset_selection
    assert rebuild.tags.items() >= build_range_tags(_FIRST, _LAST).items()
    with dg.DagsterInstance.ephemeral() as instance:
        done = definitions.resolve_job_def("moved_refresh").execute_in_process(
            instance=instance,
            tags=dict(rebuild.tags),
            asset_selection=list(rebuild.asset_selection),
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
    assert done.success
    assert old.call(7)[1]["duration2_sec"] == 152
    assert [request.run_key for request in plan()] == [request.run_key for request in refresh]


def test_a_day_without_raw_calls_stays_and_is_named(old: Installation) -> None:
    old.store.delete(old.store.locate("moved", _LAST))
    done = callkeeper("rebuild", "moved")
    assert done.code == 0, done.out + done.err
    assert "moved: 1 day of 2026-01-12 to 2026-01-12 stay as they were" in done.err.replace(
        "\n", " "
    )
    assert "1 day filled by an older version" in callkeeper("status", "moved").out
    assert old.call(7)[1]["duration2_sec"] == 152


def test_a_backup_of_the_older_version_is_restored_and_brought_to_this_one(
    old: Installation,
    tmp_path: Path,
    make_database: MakeDatabase,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place = Place(str(tmp_path / "backups"))
    backup = make_backup(place, old.url, old.store).backup
    assert backup.schema == "0006"
    with make_database(Template.EMPTY) as url:
        monkeypatch.setenv("CALLKEEPER_HOME", str(tmp_path / "home"))
        monkeypatch.setenv("CALLKEEPER_DEFS", str(tmp_path / "defs"))
        store = RawStore(str(tmp_path / "home" / "raw"))
        restore_backup(place, backup, find_url=lambda: url, open_store=lambda: store)
        ensure_schema(old.url)
        with psycopg.connect(url) as restored, psycopg.connect(old.url) as upgraded:
            assert read_all(restored) == read_all(upgraded)
            assert restored.execute(
                "SELECT version_num FROM callkeeper_alembic_version"
            ).fetchall() == [(HEAD,)]
    assert set(store.list_sources()) == {"moved", "office"}
