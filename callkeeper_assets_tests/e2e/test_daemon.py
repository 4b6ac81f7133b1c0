"""Through Dagster's own daemon: a backfill and a refresh are run, and each day shows its checks.

A check of a ranged run can be stored without its day, and its day stay planned for ever, in a way
that no test in one process shows: so this one goes through web server, queue and daemon.
"""

from collections.abc import Iterator
from datetime import date

import pytest

from callkeeper_assets.callkeeper.records import ApiName
from callkeeper_assets.simulator.server import RunningSimulator, run_simulator
from callkeeper_assets.simulator.settings import AccountSettings
from callkeeper_assets_tests.chaos.installation import KEY, SOURCE, Installation
from callkeeper_assets_tests.e2e.dev import Dev, run_dev
from callkeeper_assets_tests.waiting import wait_until

DAYS = ["2026-01-10", "2026-01-11", "2026-01-12"]
TABLES = ("callkeeper_calls", "callkeeper_calls_facts")

_CHECKS = """query($key: AssetKeyInput!) {
  assetNodeOrError(assetKey: $key) { ... on AssetNode {
    assetChecksOrError { ... on AssetChecks { checks {
      name
      executionForLatestMaterialization { status }
      partitionStatuses { ... on AssetCheckTimePartitionStatuses {
        ranges { startKey endKey status }
      } }
    } } }
  } }
}"""
_SCHEDULES = """{ schedulesOrError(repositorySelector: {
  repositoryLocationName: "callkeeper_assets", repositoryName: "__repository__"
}) { ... on Schedules { results {
  name cronSchedule executionTimezone scheduleState { status }
} } } }"""
_RUNS = "{ runsOrError { ... on Runs { results { jobName status tags { key value } } } } }"


def check_days(dev: Dev, table: str) -> dict[str, list[tuple[str, str, str]]]:
    """Return each check's ranges of days with their status, as its page shows them."""
    node = dev.ask(_CHECKS, key={"path": [SOURCE, table]})["assetNodeOrError"]
    return {
        check["name"]: [
            (one["startKey"], one["endKey"], one["status"])
            for one in check["partitionStatuses"]["ranges"]
        ]
        for check in node["assetChecksOrError"]["checks"]
        # Checks of the source as a whole have no days.
        if check["partitionStatuses"]
    }


def status_of_freshness(dev: Dev) -> str | None:
    """Return what the page of the calls says of the check for the newest day."""
    node = dev.ask(_CHECKS, key={"path": [SOURCE, "callkeeper_calls"]})["assetNodeOrError"]
    checks = {check["name"]: check for check in node["assetChecksOrError"]["checks"]}
    newest = checks["newest_day_loaded"]["executionForLatestMaterialization"]
    return newest and str(newest["status"])


@pytest.fixture
def simulator() -> Iterator[RunningSimulator]:
    """CallKeeper with one account: 40 calls every day."""
    account = AccountSettings(key=KEY, name=SOURCE, calls_per_day=40, rhythm="flat")
    with run_simulator([account]) as running:
        yield running


@pytest.fixture
def dev(installation: Installation, simulator: RunningSimulator, api: ApiName) -> Iterator[Dev]:
    """`callkeeper dev` of an installation with that source."""
    installation.add_source(simulator.base_urls[api], api=api)
    with run_dev(installation) as running:
        yield running


@pytest.mark.e2e
def test_each_day_of_a_backfill_and_of_a_reconciled_one_shows_its_own_checks(
    dev: Dev, simulator: RunningSimulator, installation: Installation
) -> None:
    _backfill(dev, simulator, installation)
    simulator.account(SOURCE).set_answers(unknown_fields=False)
    _backfill_reconciliation(dev, simulator, installation)


def _backfill(dev: Dev, simulator: RunningSimulator, installation: Installation) -> None:
    """A range in one run of the daemon's; then one day from the command line, with new fields."""
    first = dev.backfill(SOURCE, ["raw_calls", *TABLES, "general_dates"], DAYS)
    wait_until(lambda: dev.status_of(first).startswith("COMPLETED"), "the backfill ends", 120)
    assert dev.status_of(first) == "COMPLETED_SUCCESS"
    runs = dev.ask(_RUNS)["runsOrError"]["results"]
    assert [run["status"] for run in runs] == ["SUCCESS"]
    for table in TABLES:
        days = check_days(dev, table)
        assert "keys_unique" in days
        assert set(map(tuple, days.values())) == {((DAYS[0], DAYS[-1], "SUCCEEDED"),)}

    # Loaded just now, yet none of them is the newest day: the daemon's sensor says so.
    wait_until(lambda: status_of_freshness(dev) == "FAILED", "the newest day is missed", 120)

    simulator.account(SOURCE).set_answers(unknown_fields=True)
    day = date.fromisoformat(DAYS[1])
    assert installation.load(day, day).code == 0
    assert check_days(dev, "callkeeper_calls")["no_unknown_fields"] == [
        (DAYS[0], DAYS[0], "SUCCEEDED"),
        (DAYS[1], DAYS[1], "FAILED"),
        (DAYS[2], DAYS[2], "SUCCEEDED"),
    ]

    schedules = dev.ask(_SCHEDULES)["schedulesOrError"]["results"]
    assert {one["name"]: one["cronSchedule"] for one in schedules} == {
        f"{SOURCE}_refresh": "0 5 * * *",
        f"{SOURCE}_reconciliation": "0 6 * * 0",
        "event_log_pruning": "40 3 * * *",
    }
    zones = {one["name"]: one["executionTimezone"] for one in schedules}
    assert zones == dict.fromkeys(zones, "Europe/Moscow") | {"event_log_pruning": "UTC"}
    assert {one["scheduleState"]["status"] for one in schedules} == {"RUNNING"}


def _backfill_reconciliation(
    dev: Dev, simulator: RunningSimulator, installation: Installation
) -> None:
    """Only the middle day differs: the daemon's run for all three days shows just that."""
    days = [date.fromisoformat(day) for day in DAYS]
    assert installation.load(days[0], days[-1]).code == 0
    simulator.account(SOURCE).add(days[1], 2)
    simulator.account(SOURCE).change(days[1], 3, column="attempt")
    launched = dev.backfill(SOURCE, ["reconciliation"], DAYS)
    wait_until(lambda: dev.status_of(launched).startswith("COMPLETED"), "the backfill ends", 120)
    assert dev.status_of(launched) == "COMPLETED_SUCCESS"
    shown = check_days(dev, "reconciliation")
    assert len(shown) == 7
    for name, ranges in shown.items():
        if name in {"missing_in_warehouse", "attempt"}:
            assert ranges == [
                (DAYS[0], DAYS[0], "SUCCEEDED"),
                (DAYS[1], DAYS[1], "FAILED"),
                (DAYS[2], DAYS[2], "SUCCEEDED"),
            ], name
        else:
            assert ranges == [(DAYS[0], DAYS[-1], "SUCCEEDED")], name
    assert installation.query(
        "SELECT parameter, count(*), count(healed_at) FROM callkeeper_discrepancies GROUP BY 1"
        " ORDER BY 1"
    ) == [("attempt", 3, 3), ("call_id", 2, 2)]

    # What healing changed is observed, and takes nothing from the tables' own results.
    for table in TABLES:
        assert set(map(tuple, check_days(dev, table).values())) == {
            ((DAYS[0], DAYS[-1], "SUCCEEDED"),)
        }
    again = installation.run("reconcile", SOURCE, "--from", DAYS[0], "--to", DAYS[-1])
    assert (again.code, "nothing differs" in again.stdout) == (0, True), again
    assert set(map(tuple, check_days(dev, "reconciliation").values())) == {
        ((DAYS[0], DAYS[-1], "SUCCEEDED"),)
    }
