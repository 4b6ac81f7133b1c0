"""An installation made by an older version becomes what a fresh load makes of the same raw calls.

The old one is stored as files beside this test; what is compared is everything a reader can see.
"""

import gzip
import shutil
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

import dagster as dg
import psycopg
import pytest

from callkeeper_assets.assets import build_shared_definitions, build_source_definitions
from callkeeper_assets.assets.days import build_range_tags
from callkeeper_assets.config.loading import load_sources
from callkeeper_assets.postgres.url import connect
from callkeeper_assets.raw.store import RawStore
from callkeeper_assets_tests.cli.conftest import callkeeper, started
from callkeeper_assets_tests.raw.stored import stored_ids
from callkeeper_assets_tests.templates import Template

_STORED: Final = Path(__file__).parent / "schema_0006"
_FIRST, _LAST = date(2026, 1, 10), date(2026, 1, 12)
_SOURCES: Final = ("moved", "office")

# All that a reader sees of a call, without what is told by the order or the time of loading.
_CALLS: Final = """
    SELECT to_jsonb(c) - 'id' - 'account_id' - 'loaded_at' AS call,
        to_jsonb(f) - ARRAY['account_id', 'calls_id', 'clientids_id', 'traffic_id', 'sites_id',
            'locations_id'] AS facts,
        to_jsonb(t) - 'id' AS traffic, to_jsonb(l) - 'id' AS location, to_jsonb(s) - 'id' AS site,
        to_jsonb(v) - 'id' AS visitor, to_jsonb(d) AS minute
    FROM callkeeper_calls AS c
    JOIN general_accounts AS a ON a.account_id = c.account_id
    JOIN callkeeper_calls_facts AS f ON f.account_id = c.account_id AND f.calls_id = c.id
    JOIN general_traffic AS t ON t.id = f.traffic_id
    JOIN general_locations AS l ON l.id = f.locations_id
    JOIN general_sites AS s ON s.id = f.sites_id
    JOIN general_clientids AS v ON v.id = f.clientids_id
    JOIN general_dates AS d ON d.id = f.dates_id
    WHERE a.name = %s
    ORDER BY c.call_id
"""
_REPORTS: Final = """
    SELECT r.report, r.call_id, r.called_at, r.data
    FROM callkeeper_reports AS r JOIN general_accounts AS a ON a.account_id = r.account_id
    WHERE a.name = %s ORDER BY 1, 2
"""
_TALKS: Final = "SELECT call_id, content, talk_sec FROM talks ORDER BY 1"
_INBOX: Final = "SELECT id, state, body, call_id, reason FROM callkeeper_webhooks ORDER BY 1"


@dataclass(frozen=True)
class Installation:
    """One of the two that are compared."""

    url: str
    store: RawStore

    def fetch(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Return a query's rows."""
        with psycopg.connect(self.url) as connection:
            return connection.execute(query.encode(), values).fetchall()

    def describe(self) -> dict[str, list[tuple[Any, ...]]]:
        """Return everything that is compared."""
        tables = {f"calls of {name}": self.fetch(_CALLS, name) for name in _SOURCES}
        reports = {f"reports of {name}": self.fetch(_REPORTS, name) for name in _SOURCES}
        return {**tables, **reports, "talks": self.fetch(_TALKS)}

    def call(self, call_id: int) -> tuple[dict[str, Any], ...]:
        """Return the call, its facts and its dimensions."""
        (found,) = (
            row
            for name in _SOURCES
            for row in self.fetch(_CALLS, name)
            if row[0]["call_id"] == call_id
        )
        return found

    def last_load(self) -> int:
        """Return the newest row of the load log."""
        return int(self.fetch("SELECT max(id) FROM callkeeper_loads")[0][0])


@pytest.fixture(scope="session")
def template() -> Template:
    """No table yet: the stored installation brings its own."""
    return Template.EMPTY


@pytest.fixture
def environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Sources and raw calls as stored, in force."""
    home.mkdir(parents=True)
    shutil.copytree(_STORED / "defs", home / "defs")
    shutil.copytree(_STORED / "raw", home / "raw")
    monkeypatch.setenv("CALLKEEPER_DEFS", str(home / "defs"))
    for name in _SOURCES:
        monkeypatch.setenv(f"{name.upper()}_API_KEY", "0123456789abcdef")
        monkeypatch.setenv(f"{name.upper()}_WEBHOOK_TOKEN", f"{name}-token-0123456789")
    return home


@pytest.fixture
def old(environment: Path, database: str) -> Installation:
    """The stored installation, nothing of it touched yet."""
    with connect(database, autocommit=True) as connection:
        connection.execute(gzip.decompress((_STORED / "public.sql.gz").read_bytes()))
    return Installation(database, RawStore(str(environment / "raw")))


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
    with started("rebuild") as process:
        # Killed at any moment, the next one goes on.
        time.sleep(3)
        process.kill()
    assert callkeeper("rebuild").code == 0
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
