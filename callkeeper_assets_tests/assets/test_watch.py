"""The checks that time alone changes: the newest day, and calls that stay in progress."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import dagster as dg
import pytest

from callkeeper_assets.assets import build_shared_definitions, build_source_definitions
from callkeeper_assets.assets import watch as watch_module
from callkeeper_assets.assets.watch import FRESH, SETTLED
from callkeeper_assets.config.source import Source
from callkeeper_assets.postgres.url import connect
from callkeeper_assets_tests.assets.conftest import Loader
from callkeeper_assets_tests.templates import from_nothing

MOSCOW = ZoneInfo("Europe/Moscow")
NIGHT = datetime(2026, 1, 12, 7, 0, tzinfo=MOSCOW)

pytestmark = pytest.mark.parametrize("api", ["callkeeper"], indirect=True)


def _define(source: Source) -> dg.Definitions:
    return dg.Definitions.merge(
        build_shared_definitions([source]), build_source_definitions(source)
    )


def _key(source: Source, name: str) -> dg.AssetCheckKey:
    return dg.AssetCheckKey(dg.AssetKey([source.name, "callkeeper_calls"]), name)


class _Watch:
    """The sensor, ticking at moments of the test's choice, on one instance."""

    def __init__(self, source: Source, loader: Loader, patch: pytest.MonkeyPatch) -> None:
        self._definitions = _define(source)
        self._loader, self._source, self._patch = loader, source, patch
        self._cursor: str | None = None

    def tick(self, now: datetime) -> Mapping[str, dg.AssetCheckEvaluation]:
        """Let it tick; return what it reports, by check, as Dagster's UI gets it."""
        self._patch.setattr(watch_module, "_now", lambda: now)
        context = dg.build_sensor_context(instance=self._loader.instance, cursor=self._cursor)
        sensor = self._definitions.resolve_sensor_def("source_watch")
        result = sensor(context)
        assert isinstance(result, dg.SensorResult)
        self._cursor = result.cursor
        found = {}
        for event in result.asset_events:
            assert isinstance(event, dg.AssetCheckEvaluation)
            self._loader.instance.report_runless_asset_event(event)
            found[event.check_name] = event
        return found


@pytest.fixture
def watch(source: Source, loader: Loader, monkeypatch: pytest.MonkeyPatch) -> _Watch:
    """The sensor over the test's source."""
    return _Watch(source, loader, monkeypatch)


def test_of_a_source_without_a_load_nothing_is_said(watch: _Watch) -> None:
    assert watch.tick(NIGHT) == {}


@from_nothing
def test_an_old_day_loaded_today_makes_no_table_fresh(
    source: Source, loader: Loader, watch: _Watch
) -> None:
    loader.load(source, date(2026, 1, 12), date(2026, 1, 12))
    fresh = watch.tick(NIGHT)[FRESH]
    assert fresh.passed
    assert watch.tick(NIGHT + timedelta(hours=23, minutes=59)) == {}
    late = watch.tick(NIGHT + timedelta(days=1))[FRESH]
    assert not late.passed
    assert late.severity is dg.AssetCheckSeverity.WARN
    assert "2026-01-13 is due and missing" in str(late.description)
    assert "since 2026-01-13 05:00 (Europe/Moscow)" in str(late.description)
    loader.load(source, date(2026, 1, 2), date(2026, 1, 2))
    again = watch.tick(NIGHT + timedelta(days=1, minutes=1))[FRESH]
    assert (again.passed, again.description) == (False, late.description)
    longer = watch.tick(NIGHT + timedelta(days=2))[FRESH]
    assert longer.severity is dg.AssetCheckSeverity.ERROR
    assert "since 2026-01-13 05:00" in str(longer.description)
    loader.load(source, date(2026, 1, 14), date(2026, 1, 14))
    assert watch.tick(NIGHT + timedelta(days=2, minutes=1))[FRESH].passed


def test_tables_leave_freshness_to_the_check(source: Source) -> None:
    """Dagster's own policy asks when something was materialized, whichever day it was."""
    graph = _define(source).resolve_asset_graph()
    keys = [dg.AssetKey([source.name, table]) for table in source.tables]
    assert [graph.get(key).freshness_policy for key in keys] == [None] * len(keys)
    assert _key(source, FRESH) in graph.asset_check_keys


def test_no_load_evaluates_what_the_sensor_does(source: Source, loader: Loader) -> None:
    result = loader.load(source, date(2026, 1, 12), date(2026, 1, 12))
    assert result.success
    assert loader.checks(source, "callkeeper_calls", FRESH) == {}
    assert loader.checks(source, "callkeeper_calls", "keys_unique").keys() == {"2026-01-12"}


def test_calls_that_stay_open_are_named_after_the_setting(
    source: Source, loader: Loader, watch: _Watch, database: str
) -> None:
    day = date(2026, 1, 5)
    loader.load(source, day, day)
    with connect(database) as connection:
        connection.execute("UPDATE callkeeper_days SET non_final = 2")
        ids = connection.execute(
            "UPDATE callkeeper_calls SET is_final = false WHERE call_id IN "
            "(SELECT call_id FROM callkeeper_calls ORDER BY called_at LIMIT 2) RETURNING call_id"
        ).fetchall()
    after = source.refresh.settle_after_days
    assert after == 30
    noon = datetime(2026, 1, 5, 12, tzinfo=MOSCOW)
    assert watch.tick(noon + timedelta(days=after))[SETTLED].passed
    named = watch.tick(noon + timedelta(days=after + 1))[SETTLED]
    assert not named.passed
    assert named.severity is dg.AssetCheckSeverity.WARN
    assert "2 calls before 2026-01-06" in str(named.description)
    assert all(str(call_id) in str(named.description) for (call_id,) in ids)
    assert "settle_after_days in" in str(named.description)


def test_a_person_can_start_them_too(source: Source, loader: Loader) -> None:
    loader.load(source, date(2026, 1, 2), date(2026, 1, 2))
    one = dg.define_asset_job("one", selection=dg.AssetSelection.checks(_key(source, FRESH)))
    definitions = dg.Definitions.merge(_define(source), dg.Definitions(jobs=[one]))
    result = definitions.resolve_job_def("one").execute_in_process(
        instance=loader.instance,
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
    )
    found = result.get_asset_check_evaluations()
    assert [(one.check_name, one.passed) for one in found] == [(FRESH, False)]


def test_a_source_with_few_tables_has_them_too(source: Source) -> None:
    small = replace(source, tables=("general_sites",))
    table = dg.AssetKey([source.name, "general_sites"])
    graph = _define(small).resolve_asset_graph()
    assert {dg.AssetCheckKey(table, name) for name in (FRESH, SETTLED)} <= graph.asset_check_keys
