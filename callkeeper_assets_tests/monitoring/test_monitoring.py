"""What `/metrics` and `/health` say, over HTTP, of a real database and a real instance."""

import json
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from callkeeper_assets.config.loading import load_sources
from callkeeper_assets.dagster_ext.observed import DagsterState
from callkeeper_assets.monitoring import server as monitoring
from callkeeper_assets.monitoring.figures import Figures, SourceFigures, gather, list_metrics
from callkeeper_assets.monitoring.server import MonitoringServer, Watch
from callkeeper_assets.postgres import connect
from callkeeper_assets.webhooks.intake import Metrics
from callkeeper_assets_tests.cli.conftest import write_source
from callkeeper_assets_tests.templates import Template

_DEPLOY: Final = Path(__file__).parents[2] / "deploy" / "monitoring"
_NAME: Final = re.compile(r"\bcallkeeper_[a-z_]+\b")
_LOADED: Final = """
    INSERT INTO general_accounts (id, account_id, caption, service, enabled, status, name)
    VALUES (7, 7, 'Office', 'CallKeeper', true, 'new', 'office');
    INSERT INTO callkeeper_days (account_id, day, raw_calls, non_final, most_calls, reading)
    VALUES (7, '2026-03-01', 1, 0, 1, 1);
    INSERT INTO dagster.daemon_heartbeats (daemon_type, daemon_id, timestamp, body)
    VALUES ('SENSOR', 'one', now() AT TIME ZONE 'UTC', '{}');
    INSERT INTO dagster.runs (run_id, pipeline_name, status, run_body, create_timestamp, end_time)
    VALUES
        ('one', 'refresh', 'QUEUED', '{}', now() AT TIME ZONE 'UTC', NULL),
        ('two', 'refresh', 'FAILURE', '{}', now() AT TIME ZONE 'UTC', extract(epoch FROM now())),
        ('old', 'refresh', 'FAILURE', '{}', '2026-01-01', 1.0)
"""


@pytest.fixture(scope="session")
def template() -> Template:
    """Dagster's tables are read, too."""
    return Template.INSTALLATION


@pytest.fixture
def defs(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of sources, with one."""
    folder = home / "defs"
    folder.mkdir(parents=True)
    monkeypatch.setenv("CALLKEEPER_DEFS", str(folder))
    write_source(folder, "office", "time_zone: UTC")
    return folder


@pytest.fixture
def server() -> Iterator[MonitoringServer]:
    """The server, at a free port."""
    with MonitoringServer("127.0.0.1", 0) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def _ask(server: MonitoringServer, path: str) -> tuple[int, str]:
    url = f"http://127.0.0.1:{server.server_port}{path}"
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.read().decode()


def _read(text: str) -> Mapping[tuple[str, ...], float]:
    return {
        (sample.name.removeprefix("callkeeper_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.mark.usefixtures("defs")
def test_metrics_tell_of_runs_sources_and_the_database(
    database: str, server: MonitoringServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitoring, "_KEPT_SEC", 0.0)
    with connect(database, autocommit=True) as connection:
        connection.execute(_LOADED)
    status, text = _ask(server, "/metrics")
    assert status == 200
    figures = _read(text)
    assert figures["database_reachable",] == 1
    assert figures["database_size_bytes",] > 1_000_000
    assert 0 < figures["database_connections",] < figures["database_connections_max",]
    assert figures["runs", "QUEUED"] == 1
    assert figures["runs_ended_last_day", "FAILURE"] == 1, "the old one is not counted"
    assert figures["newest_day_timestamp_seconds", "office"] == (
        datetime(2026, 3, 1, tzinfo=UTC).timestamp()
    )
    assert figures["days_behind", "office"] > 0
    assert figures["key_missing", "office"] == 1
    assert _ask(server, "/health") == (
        200,
        '{"status": "ok", "database": "reachable", "daemon": "alive"}',
    )
    assert _ask(server, "/elsewhere")[0] == 404

    with connect(database, autocommit=True) as connection:
        connection.execute("UPDATE dagster.daemon_heartbeats SET timestamp = '2026-01-01'")
    status, text = _ask(server, "/health")
    assert status == 503
    assert json.loads(text)["daemon"] == "silent since 2026-01-01 00:00:00 UTC"

    monkeypatch.setenv("CALLKEEPER_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/calls")
    status, text = _ask(server, "/health")
    assert (status, json.loads(text)["status"]) == (503, "failing")
    away = _read(_ask(server, "/metrics")[1])
    assert away["database_reachable",] == 0
    assert ("runs", "QUEUED") not in away
    assert away["sources", "usable"] == 1


def test_days_behind_are_those_that_a_refresh_should_have_brought(
    database: str, defs: Path
) -> None:
    assert defs.is_dir()
    with connect(database, autocommit=True) as connection:
        connection.execute(_LOADED)
    (source,), _ = load_sources()
    daily = replace(source, refresh=replace(source.refresh, cron="0 5 * * *"))

    def count(now: datetime) -> int:
        return gather(database, [daily], now).sources["office"].days_behind

    assert count(datetime(2026, 3, 2, 6, 59, tzinfo=UTC)) == 0, "it may still be under way"
    assert count(datetime(2026, 3, 2, 7, 1, tzinfo=UTC)) == 1
    assert count(datetime(2026, 3, 4, 8, 0, tzinfo=UTC)) == 3


def _list_names(families: Any) -> set[str]:  # noqa: ANN401 -- the client library's
    return {sample.name for family in families for sample in family.samples}


def list_all_names(defs_source: Any) -> set[str]:  # noqa: ANN401
    """Return each name that the installation and the receiver have."""
    now = datetime.now(UTC)
    figures = Figures(
        1,
        1,
        100,
        DagsterState({"SENSOR": now}, {"QUEUED": 1}, now),
        {defs_source.name: SourceFigures(date(2026, 3, 1), 0, now, False, 0, 0)},
    )
    receiver = Metrics()
    receiver.count_request("office", 200, 0.1)
    receiver.set_waiting([("office", 1, now - timedelta(minutes=1))], {"office": 1})
    text = receiver.render().decode()
    return _list_names(list_metrics(figures, [defs_source], 0)) | _list_names(
        text_string_to_metric_families(text)
    )


@pytest.mark.usefixtures("defs")
def test_rules_and_board_name_metrics_that_there_are(home: Path) -> None:
    assert home.is_dir()
    (source,), _ = load_sources()
    there = list_all_names(source)
    rules = yaml.safe_load((_DEPLOY / "rules.yaml").read_text("utf-8"))
    alerts = [rule for group in rules["groups"] for rule in group["rules"]]
    board = json.loads((_DEPLOY / "grafana.json").read_text("utf-8"))
    targets = [target for panel in board["panels"] for target in panel["targets"]]
    asked = {name for one in (*alerts, *targets) for name in _NAME.findall(one["expr"])}
    assert len(alerts) > 10
    assert len(targets) > 15
    assert sorted(asked - there) == []
    documented = (_DEPLOY.parents[1] / "docs" / "operations.md").read_text("utf-8")
    named = {alert["alert"] for alert in alerts} | {
        name
        for name in there
        if name.startswith("callkeeper_") and not name.startswith("callkeeper_webhook")
    }
    assert sorted(name for name in named if f"`{name}`" not in documented) == []


def test_a_watch_that_cannot_load_sources_tells_of_the_rest(
    database: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert database
    monkeypatch.setenv("CALLKEEPER_DEFS", str(home / "nowhere"))
    watch = Watch()
    assert _read(watch.render().decode())["sources", "usable"] == 0
    assert watch.judge()["daemon"] == "never started"
