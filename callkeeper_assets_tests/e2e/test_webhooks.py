"""The way of webhooks through everything that `callkeeper dev` runs, as a person meets it.

The simulated CallKeeper posts to the receiver, the daemon's sensor starts runs, a refresh brings
the API's word; what Dagster's pages show is asked as they ask it.
"""

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

import pytest

from callkeeper_assets.callkeeper.records import ApiName
from callkeeper_assets.simulator.account import SimulatedAccount
from callkeeper_assets.simulator.server import RunningSimulator, run_simulator
from callkeeper_assets.simulator.settings import AccountSettings
from callkeeper_assets.simulator.webhook_settings import SentDelivery
from callkeeper_assets_tests.chaos.facts import describe_difference, read_days, tell_days
from callkeeper_assets_tests.chaos.installation import Installation
from callkeeper_assets_tests.e2e.dev import Dev, run_dev
from callkeeper_assets_tests.waiting import wait_until

SOURCES: Final = ("kazan", "moscow")
ZONE: Final = ZoneInfo("Europe/Moscow")
# No load evaluates them: the sensor that watches sources does, within a minute.
_WATCHED: Final = frozenset({"newest_day_loaded", "calls_final"})
_MOST_SEC: Final = 60.0
_FORMS: Final[tuple[dict[str, Any], ...]] = (
    {"method": "POST", "content": "json", "layout": "inside"},
    {"method": "POST", "content": "json", "layout": "flat"},
    {"method": "POST", "content": "form", "nested_as": "brackets"},
    {"method": "GET", "nested_as": "dots"},
    {"method": "GET", "nested_as": "json", "layout": "beside"},
)
# Of each source, in one sending.
_CALLS: Final = 2 * len(_FORMS)

_TICKS: Final = """{ sensorOrError(sensorSelector: {
  repositoryLocationName: "callkeeper_assets", repositoryName: "__repository__",
  sensorName: "webhook_inbox"
}) { ... on Sensor { sensorState { status ticks(limit: 50) {
  status skipReason logEvents { events { message } } error { message }
  runs { id status assetChecks { name } tags { key value } }
} } } } }"""
_ASSET: Final = """query($key: AssetKeyInput!) {
  assetNodeOrError(assetKey: $key) { ... on AssetNode {
    staleStatus
    assetMaterializations(limit: 20) { runId metadataEntries {
      label ... on IntMetadataEntry { intValue }
    } }
    assetObservations(limit: 20) { partition metadataEntries { label
      ... on IntMetadataEntry { intValue } ... on TextMetadataEntry { text } } }
    assetChecksOrError { ... on AssetChecks { checks {
      name executionForLatestMaterialization { status }
    } } }
  } }
}"""
_CAUSES: Final = """query($key: AssetKeyInput!, $days: [String!]) {
  assetNodeOrError(assetKey: $key) { ... on AssetNode {
    staleCausesByPartition(partitions: $days) { reason key { path } }
  } }
}"""
_WAITED: Final = """
    SELECT count(*), max(extract(epoch FROM processed_at - received_at))::float
    FROM callkeeper_webhooks HAVING bool_and(state = 'processed')
"""
_ORIGINS: Final = """
    SELECT origin, count(*), count(DISTINCT (account_id, call_id)) FROM callkeeper_calls
    WHERE call_id = ANY(%s) GROUP BY origin
"""


@pytest.fixture
def simulator() -> Iterator[RunningSimulator]:
    """CallKeeper with two accounts."""
    accounts = [
        AccountSettings(key=f"{n:032x}", name=name, calls_per_day=40, rhythm="flat", seed=n)
        for n, name in enumerate(SOURCES, start=1)
    ]
    with run_simulator(accounts) as running:
        yield running


@pytest.fixture
def dev(installation: Installation, simulator: RunningSimulator, api: ApiName) -> Iterator[Dev]:
    """`callkeeper dev` of an installation that takes both accounts' webhooks."""
    for account in simulator.simulator.accounts:
        name, token = account.settings.name, f"{account.settings.name}-token-0123456789"
        installation.add_source(
            simulator.base_urls[api],
            name=name,
            key=account.settings.key,
            webhook_token=token,
            api=api,
        )
    with run_dev(installation) as running:
        for name in SOURCES:
            url = f"http://127.0.0.1:{running.webhook_port}/webhooks/{name}/{name}-token-0123456789"
            simulator.account(name).set_webhooks(url=url, duplicate=0.5, wrong_order=0.5)
        yield running


def send(simulator: RunningSimulator, day: date) -> list[SentDelivery]:
    """Send webhooks of new calls of both accounts, in every form, all of which are accepted."""
    sent = []
    for name in SOURCES:
        for form in _FORMS:
            account: SimulatedAccount = simulator.account(name)
            account.set_webhooks(**form)
            sent += account.send_webhooks(day, new=2)
    assert {delivery.status for delivery in sent} == {200}
    assert any(delivery.is_duplicate for delivery in sent)
    return sent


def wait_for_tables(installation: Installation) -> float:
    """Wait until nothing waits in the inbox; return the longest wait of a payload in seconds."""
    wait_until(lambda: installation.query(_WAITED), "all webhooks are processed", _MOST_SEC + 30)
    [(payloads, waited)] = installation.query(_WAITED)
    assert payloads
    return float(waited)


def ask_asset(dev: Dev, source: str, name: str) -> dict[str, Any]:
    """Return what an asset's page shows."""
    shown: dict[str, Any] = dev.ask(_ASSET, key={"path": [source, name]})["assetNodeOrError"]
    return shown


def read_values(events: Sequence[dict[str, Any]], label: str) -> list[Any]:
    """Return each event's value of that label."""
    return [
        entry.get("intValue", entry.get("text"))
        for event in events
        for entry in event["metadataEntries"]
        if entry["label"] == label
    ]


@pytest.mark.e2e
@pytest.mark.timeout(600)
def test_webhooks_are_in_the_tables_within_a_minute_and_the_api_has_the_last_word(
    dev: Dev, simulator: RunningSimulator, installation: Installation, api: ApiName
) -> None:
    """One source is loaded before its first webhook comes, the other after it."""
    day = datetime.now(ZONE).date()
    refresh(installation, simulator, SOURCES[0], day, api)
    sent = send(simulator, day)
    ids = sorted({delivery.call_id for delivery in sent})
    calls = len({(delivery.address, delivery.call_id) for delivery in sent})
    assert wait_for_tables(installation) < _MOST_SEC
    assert installation.query(_ORIGINS, ids) == [("webhook", calls, calls)]
    check_ticks(dev, installation)
    for source in SOURCES:
        check_events(dev, source, day)
    check_loaded(dev, SOURCES[0], day)

    for source in SOURCES:
        refresh(installation, simulator, source, day, api)
    assert installation.query(_ORIGINS, ids) == [("api", calls, calls)]
    send(simulator, day)
    assert wait_for_tables(installation) < _MOST_SEC
    for source in SOURCES:
        check_loaded(dev, source, day)


def refresh(
    installation: Installation, simulator: RunningSimulator, source: str, day: date, api: ApiName
) -> None:
    """Refresh a source; the day's tables then hold what the source itself has."""
    ended = installation.run("refresh", source, "--json")
    assert ended.code == 0, ended
    reported = simulator.account(source).truth(day, day, ZONE.key, api=api)
    truth = tell_days(reported, day, day, ZONE)
    found = {day: read_days(installation, day, day, ZONE, source)[day]}
    assert describe_difference(found, truth) == ""


def check_ticks(dev: Dev, installation: Installation) -> None:
    """Each tick says in words what it did, and what it started ends well."""
    state = dev.ask(_TICKS)["sensorOrError"]["sensorState"]
    assert state["status"] == "RUNNING"
    # The newest may be under way.
    ended = [tick for tick in state["ticks"][:1] if tick["status"] != "STARTED"] + state["ticks"][
        1:
    ]
    started = [tick for tick in ended if tick["status"] == "SUCCESS"]
    skipped = [tick for tick in ended if tick["status"] == "SKIPPED"]
    assert len(started) + len(skipped) == len(ended), state["ticks"]
    for tick in skipped:
        said = tick["skipReason"]
        assert said == "Nothing waits in the inbox." or "to end." in said or "no run starts" in said
    sources = set()
    for tick in started:
        [run] = tick["runs"]
        [event] = tick["logEvents"]["events"]
        assert "a run starts for" in event["message"]
        tags = {tag["key"]: tag["value"] for tag in run["tags"]}
        assert tags["callkeeper/inbox"] == event["message"]
        assert not run["assetChecks"]
        sources.update(tags["callkeeper/source"].split(", "))
        wait_for_end(installation, run["id"])
    assert sources == set(SOURCES)


def wait_for_end(installation: Installation, run_id: str) -> None:
    """Wait until a run has ended, well."""
    status = "SELECT status FROM dagster.runs WHERE run_id = %s"
    wait_until(
        lambda: installation.query(status, run_id)[0][0] not in ("STARTED", "STARTING", "QUEUED"),
        "the run ends",
    )
    assert installation.query(status, run_id) == [("SUCCESS",)]


def check_events(dev: Dev, source: str, day: date) -> None:
    """The source's asset counts its payloads, and each changed table's day was told of."""
    reported = ask_asset(dev, source, "webhook_calls")["assetMaterializations"]
    assert sum(read_values(reported, "payloads")) >= 2 * _CALLS
    assert set(read_values(reported, "rejected")) == {0}
    seen = ask_asset(dev, source, "callkeeper_calls_facts")["assetObservations"]
    assert {one["partition"] for one in seen} == {str(day)}
    assert sum(read_values(seen, "rows_added")) == _CALLS
    assert set(read_values(seen, "changed_by")) == {
        f"webhooks, run {one['runId']}" for one in reported
    }


def check_loaded(dev: Dev, source: str, day: date) -> None:
    """What is loaded looks up to date although webhooks have come since, and so do its checks."""
    for name in ("raw_calls", "callkeeper_calls", "callkeeper_calls_facts", "general_clientids"):
        key = {"path": [source, name]}
        shown = ask_asset(dev, source, name)
        assert shown["staleStatus"] == "FRESH", name
        by_day = dev.ask(_CAUSES, key=key, days=[str(day)])["assetNodeOrError"]
        assert by_day["staleCausesByPartition"] == [[]], name
        for check in shown["assetChecksOrError"]["checks"]:
            if check["name"] in _WATCHED:
                continue
            assert check["executionForLatestMaterialization"]["status"] == "SUCCEEDED", check
