"""Reports through Dagster: days, checks, metadata, missing raw calls, schedules."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from callkeeper_assets.assets import build_shared_definitions, build_source_definitions
from callkeeper_assets.assets.days import build_range_tags
from callkeeper_assets.assets.reports import plan_report_refresh
from callkeeper_assets.callkeeper.records import ApiName
from callkeeper_assets.config.source import Source, Webhook
from callkeeper_assets.dagster_ext.dead_runs import COMMAND_LINE_TAG
from callkeeper_assets.home import raw_url
from callkeeper_assets.plans import DayRange
from callkeeper_assets.raw.store import RawStore
from callkeeper_assets.reports.definition import Report
from callkeeper_assets.simulator.server import RunningSimulator
from callkeeper_assets.warehouse.filters import Filter
from callkeeper_assets_tests.assets.conftest import FIRST, LAST, Loader, describe_failure
from callkeeper_assets_tests.reports.building import table
from callkeeper_assets_tests.templates import from_nothing
from callkeeper_assets_tests.warehouse.raw_days import rows
from callkeeper_assets_tests.webhooks.inbox_of import Office, payload

DAYS = ["2026-01-10", "2026-01-11", "2026-01-12"]
Count = Callable[[str], int]

JSON = Report("as_json", fields=(("id", "id"), ("status", "status_code")))
TALKS = Report(
    "talks",
    structure=(
        table("talks", "id", {"id": ("id", "bigint"), "talk": ("duration2_sec", "integer")}),
        table("visits", "id", {"id": ("^id", "bigint"), "v": ("@", "jsonb")}, "visit_info.current"),
    ),
    filters=(Filter("status", "eq", "success"),),
)
# Reasons are texts: each is a reject.
BAD = Report(
    "bad",
    structure=(table("bad", "id", {"id": ("id", "bigint"), "no": ("status_reason", "integer")}),),
)


@pytest.fixture
def api() -> ApiName:
    """A report's paths are one API's; of the other's reports the last test is an example."""
    return "callkeeper"


@pytest.fixture
def reporting(source: Source) -> Source:
    """The source with three reports."""
    return replace(source, reports=(JSON, TALKS, BAD))


def build(
    loader: Loader, source: Source, first: date = FIRST, last: date = LAST, job: str = "reports"
) -> dg.ExecuteInProcessResult:
    """Run a job of the source's reports."""
    definitions = dg.Definitions.merge(
        build_shared_definitions([source]), build_source_definitions(source)
    )
    return definitions.resolve_job_def(f"{source.name}_{job}").execute_in_process(
        instance=loader.instance,
        tags={COMMAND_LINE_TAG: "test", **build_range_tags(first, last)},
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        raise_on_error=False,
    )


def metadata(loader: Loader, source: Source, report: str) -> dict[str, dict[str, Any]]:
    """The newest metadata of a report's days."""
    records = loader.instance.fetch_materializations(
        dg.AssetKey([source.name, "reports", report]), limit=1000
    ).records
    return {
        str(record.partition_key): {
            name: value.value for name, value in record.asset_materialization.metadata.items()
        }
        for record in reversed(records)
        if record.asset_materialization
    }


def verdicts(loader: Loader, source: Source, report: str, check: str) -> dict[str, Any]:
    """The newest verdict of a check, by day."""
    key = dg.AssetCheckKey(dg.AssetKey([source.name, "reports", report]), check)
    records = loader.instance.event_log_storage.get_asset_check_execution_history(key, limit=100)
    return {
        str(record.partition): record.event.dagster_event.event_specific_data
        for record in reversed(records)
        if record.event and record.event.dagster_event
    }


def test_a_ranged_run_gives_each_day_its_metadata_and_checks(
    reporting: Source, loader: Loader, count: Count
) -> None:
    assert loader.load(reporting).success
    assert build(loader, reporting).success
    assert count("callkeeper_reports") == 180
    successes = count("callkeeper_calls WHERE status = 'success'")
    assert count("talks") == successes
    visits = count("visits")
    assert 0 < visits < successes, "some calls come without marks of the visit"
    for report in ("as_json", "talks", "bad"):
        assert sorted(metadata(loader, reporting, report)) == DAYS
    days = metadata(loader, reporting, "talks").values()
    assert sum(day["rows of talks"] for day in days) == successes
    assert sum(day["dagster/partition_row_count"] for day in days) == successes + visits
    assert sum(day["calls"] for day in days) == successes
    assert {day["raw_calls"] for day in days} == {60}
    for report in ("as_json", "talks", "bad"):
        for check in ("values_fit", "no_new_fields"):
            found = verdicts(loader, reporting, report, check)
            assert sorted(found) == DAYS
            assert {one.passed for one in found.values()} == {
                check == "no_new_fields" or report != "bad"
            }
    again = build(loader, reporting)
    assert again.success
    assert {
        (day["rows_added"], day["rows_updated"], day["rows_deleted"])
        for report in ("as_json", "talks", "bad")
        for day in metadata(loader, reporting, report).values()
    } == {(0, 0, 0)}


def test_values_that_do_not_fit_are_a_warning_with_count_and_sample(
    reporting: Source, loader: Loader, count: Count
) -> None:
    loader.load(reporting)
    assert build(loader, reporting, job="report_bad").success
    found = verdicts(loader, reporting, "bad", "values_fit")
    day = found[DAYS[0]]
    assert day.severity == dg.AssetCheckSeverity.WARN
    rejects = count(f"callkeeper_rejects WHERE day = '{DAYS[0]}'")
    assert day.metadata["rejects"].value == rejects > 10
    assert len(day.metadata["sample"].value) == 10
    assert day.metadata["sample_is_cut"].value is True
    assert day.metadata["sample"].value[0].keys() == {"call_id", "table", "column", "reason"}
    assert "bad.no: is not a whole number" in day.description
    assert metadata(loader, reporting, "as_json") == {}, "only the job's report is built"


def test_new_fields_are_a_warning_that_names_them(
    reporting: Source, loader: Loader, simulator: RunningSimulator
) -> None:
    loader.load(reporting)
    assert build(loader, reporting, FIRST, FIRST).success
    simulator.account("moscow").set_answers(unknown_fields=True)
    loader.load(reporting, LAST, LAST)
    assert build(loader, reporting, LAST, LAST).success
    verdict = verdicts(loader, reporting, "as_json", "no_new_fields")[DAYS[2]]
    assert (verdict.passed, verdict.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert verdict.metadata["fields"].value
    assert verdict.metadata["fields"].value[0] in verdict.description


@from_nothing
def test_a_report_added_later_covers_every_day_that_is_there_and_says_which_are_not(
    source: Source, loader: Loader, simulator: RunningSimulator, count: Count
) -> None:
    loader.load(source)
    asked = Counter(simulator.account("moscow").requests)
    late = replace(source, reports=(JSON,))
    result = build(loader, late, FIRST - timedelta(days=3), LAST + timedelta(days=2))
    assert not result.success
    assert describe_failure(result) == (
        "Source 'moscow': no raw calls are there for 5 of 8 days: 2026-01-07 to 2026-01-09, "
        "2026-01-13 to 2026-01-14. The other days are built. Load them: callkeeper load moscow "
        "--from 2026-01-07 --to 2026-01-14"
    )
    assert count("callkeeper_reports") == 180
    assert sorted(metadata(loader, late, "as_json")) == DAYS
    assert count("callkeeper_loads WHERE error LIKE '%no raw calls are there%'") == 1
    assert Counter(simulator.account("moscow").requests) == asked, "the source is asked nothing"


def test_a_damaged_day_does_not_stop_the_others(
    reporting: Source, loader: Loader, home: Path, count: Count
) -> None:
    loader.load(reporting)
    file = next((home / "raw").rglob(f"{DAYS[1]}.parquet"))
    file.write_bytes(b"PAR1 damaged")
    result = build(loader, reporting)
    assert not result.success
    assert f"The raw calls in {file} cannot be read" in describe_failure(result)
    assert count("callkeeper_reports") == 120


def test_ten_reports_read_and_parse_a_days_raw_calls_once_a_run(
    source: Source, loader: Loader, monkeypatch: pytest.MonkeyPatch
) -> None:
    loader.load(source)
    many = replace(
        source,
        reports=tuple(
            Report(f"r{n}", fields=(("id", "id"), ("n", f"to_number('{n}')"))) for n in range(5)
        )
        + tuple(replace(TALKS, name=f"t{n}", structure=_rename(n)) for n in range(5)),
    )
    reads: Counter[date] = Counter()
    read = RawStore.read

    def counting(store: RawStore, name: str, day: date) -> Any:  # noqa: ANN401
        reads[day] += 1
        return read(store, name, day)

    monkeypatch.setattr(RawStore, "read", counting)
    assert build(loader, many).success
    assert reads == {date.fromisoformat(day): 1 for day in DAYS}


def _rename(n: int) -> tuple[Any, ...]:
    return tuple(replace(one, name=f"{one.name}_{n}") for one in TALKS.structure)


def test_the_schedule_builds_what_was_loaded_since_and_nothing_that_is_not_there(
    reporting: Source, loader: Loader
) -> None:
    today = LAST + timedelta(days=40)
    assert plan_report_refresh(reporting, JSON, today=today) == []
    loader.load(reporting)
    assert plan_report_refresh(reporting, JSON, today=today) == [DayRange(FIRST, LAST)]
    build(loader, reporting)
    assert plan_report_refresh(reporting, JSON, today=today) == []
    # The overlap: built again, changed or not, where there are raw calls.
    assert plan_report_refresh(reporting, JSON, today=LAST + timedelta(days=2)) == [
        DayRange(FIRST + timedelta(days=1), LAST)
    ]
    loader.load(reporting, FIRST, FIRST)
    assert plan_report_refresh(reporting, JSON, today=today) == [DayRange(FIRST, FIRST)]
    changed = replace(JSON, fields=(("id", "id"),))
    assert plan_report_refresh(reporting, changed, today=today) == [DayRange(FIRST, LAST)]


def test_each_report_has_its_own_schedule(reporting: Source, loader: Loader) -> None:
    own = replace(reporting, reports=(replace(JSON, cron="15 7 * * 1"),))
    loader.load(own)
    definitions = dg.Definitions.merge(
        build_shared_definitions([own]), build_source_definitions(own)
    )
    schedule = definitions.resolve_schedule_def("moscow_report_as_json")
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("15 7 * * 1", "Europe/Moscow")
    tick = datetime(2026, 1, 13, 7, 15, tzinfo=own.time_zone)
    context = dg.build_schedule_context(loader.instance, scheduled_execution_time=tick)
    requests = schedule.evaluate_tick(context).run_requests
    assert requests is not None
    assert [
        (one.tags["dagster/asset_partition_range_start"], one.tags["callkeeper/source"])
        for one in requests
    ] == [("2026-01-10", "moscow")]


def test_a_report_shows_its_columns_and_where_they_come_from(
    reporting: Source, loader: Loader
) -> None:
    definitions = dg.Definitions.merge(
        build_shared_definitions([reporting]), build_source_definitions(reporting)
    )
    specs = {spec.key: spec for spec in definitions.resolve_all_asset_specs()}
    spec = specs[dg.AssetKey(["moscow", "reports", "talks"])]
    assert [one.name for one in spec.metadata["dagster/column_schema"].columns] == [
        "account_id",
        "id",
        "talk",
    ]
    assert spec.metadata["dagster/table_name"] == "public.talks"
    assert spec.metadata["filters"] == "status eq success"
    assert [dep.asset_key for dep in spec.deps] == [dg.AssetKey(["moscow", "raw_calls"])]
    loader.load(reporting)
    build(loader, reporting)
    lineage = metadata(loader, reporting, "talks")[DAYS[-1]]["dagster/column_lineage"]
    assert lineage.deps_by_column["talk"] == [
        dg.TableColumnDep(dg.AssetKey(["moscow", "raw_calls"]), "payload")
    ]


def test_reconciliation_builds_the_reports_of_the_days_that_it_healed(
    reporting: Source, loader: Loader, simulator: RunningSimulator, count: Count
) -> None:
    loader.load(reporting)
    build(loader, reporting)
    changed = simulator.account("moscow").change(LAST, 4, column="duration2_sec")
    before = count("callkeeper_reports")
    definitions = dg.Definitions.merge(
        build_shared_definitions([reporting]), build_source_definitions(reporting)
    )
    result = definitions.resolve_job_def("moscow_reconciliation").execute_in_process(
        instance=loader.instance,
        tags={COMMAND_LINE_TAG: "test", **build_range_tags(FIRST, LAST)},
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        raise_on_error=False,
    )
    assert result.success
    days = metadata(loader, reporting, "talks")
    assert [days[day]["rows_updated"] > 0 for day in DAYS] == [False, False, True]
    assert count("callkeeper_reports") == before
    ids = {change.call_id for change in changed}
    assert count(f"callkeeper_loads WHERE report = 'talks' AND day = '{LAST}'") == 4
    assert count(f"callkeeper_loads WHERE report = 'talks' AND day = '{FIRST}'") == 2
    assert ids
    assert sorted(verdicts(loader, reporting, "talks", "values_fit")) == DAYS


def test_a_call_that_only_webhooks_reported_is_in_a_report_and_gives_way_to_the_source_s(
    reporting: Source, loader: Loader, database: str
) -> None:
    day = reporting.today() - timedelta(days=1)
    taking = replace(reporting, reports=(JSON,), webhook=Webhook("TOKEN", {}, timedelta(hours=48)))
    at = datetime(day.year, day.month, day.day, 12, tzinfo=taking.time_zone)
    reported = payload(7) | {"date_timestamp": int(at.timestamp())}
    assert loader.load(taking, day, day).success
    Office(database, RawStore(raw_url()), taking).receive(reported)
    assert build(loader, taking, day, day).success
    found = rows(database, "SELECT data FROM callkeeper_reports WHERE call_id = 7")
    assert found == [({"id": 7, "status": "200"},)]

    assert build(loader, replace(taking, webhook=None), day, day).success
    assert rows(database, "SELECT data FROM callkeeper_reports WHERE call_id = 7") == []


def test_reports_of_migrated_accounts_name_the_fields_of_their_api(
    source: Source, loader: Loader, simulator: RunningSimulator, database: str
) -> None:
    tags = Report(
        "tags",
        structure=(
            table(
                "tags",
                "call tag",
                {"call": ("^cbCallId", "bigint"), "tag": ("@", "text")},
                "tags[]",
            ),
        ),
    )
    migrated = replace(source, api="ckct", base_url=simulator.base_urls["ckct"], reports=(tags,))
    assert loader.load(migrated).success
    assert build(loader, migrated).success
    truth = simulator.account("moscow").truth(FIRST, LAST).calls
    expected = {
        (one["call_id"], tag)
        for one in truth
        if one["tags"]
        for tag in str(one["tags"]).split(", ")
    }
    assert set(rows(database, "SELECT call, tag FROM tags")) == expected
    assert expected
