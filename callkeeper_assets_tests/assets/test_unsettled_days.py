"""Days with calls that are not final: read again in one run, and not for ever."""

from dataclasses import replace
from datetime import date, timedelta

import dagster as dg
import pytest

from callkeeper_assets.assets import build_shared_definitions, build_source_definitions
from callkeeper_assets.assets.days import build_range_tags
from callkeeper_assets.assets.jobs import name_refresh_job, plan_source_refresh
from callkeeper_assets.config.source import Source
from callkeeper_assets.dagster_ext.dead_runs import COMMAND_LINE_TAG
from callkeeper_assets.plans import DayRange
from callkeeper_assets.postgres.url import connect
from callkeeper_assets.simulator.server import RunningSimulator
from callkeeper_assets_tests.assets.conftest import Loader, describe_failure

pytestmark = pytest.mark.parametrize("api", ["callkeeper"], indirect=True)

APART = [date(2026, 1, 3), date(2026, 1, 14), date(2026, 2, 2)]
TODAY = date(2026, 2, 20)


def _define(source: Source) -> dg.Definitions:
    return dg.Definitions.merge(
        build_shared_definitions([source]), build_source_definitions(source)
    )


def _run(source: Source, loader: Loader, days: DayRange) -> dg.ExecuteInProcessResult:
    """Run the refresh of some days as the command line does."""
    tags = build_range_tags(days.first, days.last, days.others)
    return (
        _define(source)
        .resolve_job_def(name_refresh_job(source.name))
        .execute_in_process(
            instance=loader.instance,
            tags={COMMAND_LINE_TAG: "test", **tags},
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            raise_on_error=False,
        )
    )


def _load_apart(source: Source, loader: Loader, database: str) -> None:
    """Load the days, and have each hold a call that is not final."""
    for day in APART:
        assert loader.load(source, day, day).success
    with connect(database) as connection:
        connection.execute("UPDATE callkeeper_days SET non_final = 1")


def _made(loader: Loader, source: Source, asset: str, run_id: str) -> list[str]:
    """Return the days of an asset that a run materialized, as Dagster's UI shows them."""
    records = loader.instance.fetch_materializations(
        dg.AssetKey([source.name, asset]), limit=1000
    ).records
    return sorted(str(one.partition_key) for one in records if one.run_id == run_id)


def test_days_that_lie_apart_are_one_run_and_no_day_between(
    source: Source, loader: Loader, database: str, simulator: RunningSimulator
) -> None:
    _load_apart(source, loader, database)
    patient = replace(source, refresh=replace(source.refresh, settle_after_days=100))
    runs = plan_source_refresh(patient, today=TODAY)
    assert runs == [
        DayRange(APART[0], APART[0], others=tuple(APART[1:])),
        DayRange(TODAY - timedelta(days=3), TODAY),
    ]
    simulator.account("moscow").add(APART[2], 2)
    result = _run(patient, loader, runs[0])
    assert result.success
    days = [day.isoformat() for day in APART]
    for asset in ("raw_calls", *source.tables):
        assert _made(loader, source, asset, result.run_id) == days, asset
    shown = loader.metadata(source, "callkeeper_calls")[days[2]]
    assert (shown["dagster/partition_row_count"], shown["rows_added"]) == (62, 2)
    assert loader.metadata(source, "raw_calls")[days[1]]["dagster/partition_row_count"] == 60
    for name in ("keys_unique", "count_equals_raw"):
        checks = loader.checks(source, "callkeeper_calls", name)
        assert {checks[day].passed for day in days} == {True}
        assert loader.current_days(source, "callkeeper_calls", name) == days
    # Nothing was ever planned, let alone made, of the days between.
    tables = dg.AssetKey([source.name, "callkeeper_calls"])
    assert loader.instance.get_materialized_partitions(tables) == set(days)
    with connect(database) as connection:
        found = connection.execute("SELECT day FROM callkeeper_days ORDER BY day").fetchall()
    assert [day for (day,) in found] == APART


def test_a_refused_day_among_them_keeps_none_of_the_others_back(
    source: Source, loader: Loader, database: str, simulator: RunningSimulator
) -> None:
    _load_apart(source, loader, database)
    account = simulator.account("moscow")
    account.remove(APART[1], 60)
    account.add(APART[2], 1)
    result = _run(source, loader, DayRange(APART[0], APART[0], others=tuple(APART[1:])))
    assert not result.success
    assert f"{APART[1]}: the source sends no calls" in describe_failure(result)
    made = _made(loader, source, "callkeeper_calls", result.run_id)
    assert made == [APART[0].isoformat(), APART[2].isoformat()]
    with connect(database) as connection:
        calls = connection.execute("SELECT count(*) FROM callkeeper_calls").fetchall()
    assert calls == [(181,)]


def test_after_the_setting_a_day_is_read_again_no_more(
    source: Source, loader: Loader, database: str
) -> None:
    _load_apart(source, loader, database)

    def old_days(today: date) -> list[date]:
        *old, _ = plan_source_refresh(source, today=today)
        return [day for one in old for day in (one.first, *one.others)]

    assert old_days(APART[0] + timedelta(days=30)) == [APART[0], APART[1]]
    assert old_days(APART[0] + timedelta(days=31)) == [APART[1]]
    assert old_days(APART[2] + timedelta(days=31)) == []


def test_a_refresh_reads_days_that_are_hinted_at(
    source: Source, loader: Loader, database: str
) -> None:
    assert loader.load(source, APART[0], APART[0]).success
    with connect(database) as connection:
        connection.execute(
            "INSERT INTO callkeeper_webhook_hints (account_id, day, hinted_at) "
            "SELECT account_id, %s, now() FROM general_accounts WHERE name = %s",
            (APART[1], source.name),
        )
    assert plan_source_refresh(source, today=TODAY) == [
        DayRange(APART[1], APART[1]),
        DayRange(TODAY - timedelta(days=3), TODAY),
    ]
    # Of another source's hints it takes no notice.
    other = replace(source, name="other")
    assert plan_source_refresh(other, today=TODAY) == [DayRange(TODAY - timedelta(days=3), TODAY)]


def test_the_schedule_asks_for_one_run_of_all_old_days(
    source: Source, loader: Loader, database: str
) -> None:
    _load_apart(source, loader, database)
    patient = replace(source, refresh=replace(source.refresh, settle_after_days=100))
    schedule = _define(patient).resolve_schedule_def(name_refresh_job(source.name))
    tick = patient.start_of(TODAY) + timedelta(hours=5)
    context = dg.build_schedule_context(instance=loader.instance, scheduled_execution_time=tick)
    requests = schedule.evaluate_tick(context).run_requests
    assert requests is not None
    others = [request.tags.get("callkeeper/other_days") for request in requests]
    assert others == ["2026-01-14 2026-02-02", None]
    assert len({request.run_key for request in requests}) == 2
