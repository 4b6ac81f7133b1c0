"""Webhooks in Dagster: one run for all sources, ticks that say what they do, and a check."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest

from callkeeper_assets.assets import build_shared_definitions, build_source_definitions
from callkeeper_assets.assets.days import build_range_tags
from callkeeper_assets.assets.jobs import name_refresh_job
from callkeeper_assets.config.source import Source, Webhook
from callkeeper_assets.dagster_ext.dead_runs import SOURCE_TAG
from callkeeper_assets.postgres.locks import held_run_lock
from callkeeper_assets.raw.store import RawStore
from callkeeper_assets.warehouse.filters import Filter
from callkeeper_assets_tests.assets.conftest import Loader, describe_failure, with_all_tables
from callkeeper_assets_tests.templates import from_nothing
from callkeeper_assets_tests.warehouse.raw_days import rows
from callkeeper_assets_tests.webhooks.inbox_of import Office, payload

TABLES = ("callkeeper_calls", "callkeeper_calls_facts")
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def recent_payload(call_id: int, **fields: object) -> dict[str, Any]:
    """Return a webhook of a call of an hour ago."""
    at = datetime.now(UTC) - timedelta(hours=1)
    when = {"date": f"{at:%Y-%m-%d %H:%M:%S}", "date_timestamp": int(at.timestamp())}
    return payload(call_id) | when | fields


@dataclass(frozen=True)
class Inbox:
    """The inbox of several sources, and the definitions that process it."""

    url: str
    sources: Sequence[Source]
    instance: dg.DagsterInstance

    @property
    def definitions(self) -> dg.Definitions:
        return dg.Definitions.merge(
            build_shared_definitions(self.sources), *map(build_source_definitions, self.sources)
        )

    def receive(self, source: Source, *bodies: Mapping[str, Any]) -> None:
        Office(self.url, RawStore("memory://unused"), source).receive(*bodies)

    def run(self, *sources: Source) -> dg.ExecuteInProcessResult:
        """Run the job as the sensor asks for it."""
        job = self.definitions.resolve_job_def("webhook_inbox")
        keys = [dg.AssetKey([source.name, "webhook_calls"]) for source in sources]
        return job.execute_in_process(
            instance=self.instance, asset_selection=keys, run_config=QUIET, raise_on_error=False
        )

    def tick(self, cursor: str | None = None) -> dg.SensorResult:
        """Evaluate the sensor."""
        sensor = next(one for one in self.definitions.sensors or () if one.name == "webhook_inbox")
        context = dg.build_sensor_context(
            instance=self.instance, cursor=cursor, definitions=self.definitions
        )
        result = sensor(context)
        assert isinstance(result, dg.SensorResult)
        return result


@pytest.fixture
def inbox(source: Source, database: str, loader: Loader) -> Inbox:
    """Two sources that take webhooks."""
    sources = [
        replace(source, name=name, webhook=Webhook("TOKEN", {}, timedelta(hours=48)))
        for name in ("kazan", "moscow")
    ]
    return Inbox(database, sources, loader.instance)


def materializations(instance: dg.DagsterInstance, source: Source) -> list[Mapping[str, Any]]:
    records = instance.fetch_materializations(
        dg.AssetKey([source.name, "webhook_calls"]), limit=10
    ).records
    return [
        {name: value.value for name, value in record.asset_materialization.metadata.items()}
        for record in records
        if record.asset_materialization
    ]


@from_nothing
@with_all_tables
def test_one_run_processes_all_sources_and_tells_each_table_s_day(inbox: Inbox) -> None:
    kazan, moscow = inbox.sources
    inbox.receive(kazan, recent_payload(1), {"hook_event": "Call is over"})
    inbox.receive(moscow, recent_payload(1), recent_payload(2))
    assert inbox.run(kazan, moscow).success
    stored = "SELECT a.name, c.call_id, c.origin FROM callkeeper_calls AS c "
    stored += "JOIN general_accounts AS a USING (account_id) ORDER BY 1, 2"
    assert rows(inbox.url, stored) == [
        ("kazan", 1, "webhook"),
        ("moscow", 1, "webhook"),
        ("moscow", 2, "webhook"),
    ]
    (of_kazan,) = materializations(inbox.instance, kazan)
    assert (of_kazan["payloads"], of_kazan["rejected"]) == (2, 1)
    (of_moscow,) = materializations(inbox.instance, moscow)
    assert of_moscow["rows_changed"]["callkeeper_calls"] == 2
    assert of_moscow["days"] == [
        (datetime.now(UTC) - timedelta(hours=1)).astimezone(moscow.time_zone).date().isoformat()
    ]
    observed = inbox.instance.fetch_observations(
        dg.AssetKey(["moscow", "callkeeper_calls_facts"]), limit=5
    ).records
    (observation,) = [record.asset_observation for record in observed]
    assert observation is not None
    assert observation.partition == of_moscow["days"][0]
    assert observation.metadata["rows_added"].value == 2


def test_a_source_that_fails_does_not_hold_up_the_others(inbox: Inbox) -> None:
    kazan, moscow = inbox.sources
    inbox.receive(kazan, recent_payload(1))
    inbox.receive(moscow, recent_payload(2))
    filters = {"callkeeper_calls": (Filter("no_such_field", "eq", 1),)}
    broken = replace(inbox, sources=[replace(kazan, filters=filters), moscow])
    result = broken.run(*broken.sources)
    assert not result.success
    said = describe_failure(result)
    assert said.startswith("Source 'kazan': its webhooks wait on, they could not be processed.")
    assert "no_such_field" in said
    assert rows(inbox.url, "SELECT call_id FROM callkeeper_calls") == [(2,)]
    assert len(materializations(inbox.instance, moscow)) == 1
    assert materializations(inbox.instance, kazan) == []
    assert inbox.tick().run_requests
    assert inbox.run(kazan).success
    assert rows(inbox.url, "SELECT call_id FROM callkeeper_calls ORDER BY 1") == [(1,), (2,)]


def test_a_tick_starts_one_run_for_everything_that_waits_and_says_so(inbox: Inbox) -> None:
    for source in inbox.sources:
        inbox.receive(source, recent_payload(1))
    result = inbox.tick()
    (request,) = result.run_requests or ()
    assert request.asset_selection == [
        dg.AssetKey(["kazan", "webhook_calls"]),
        dg.AssetKey(["moscow", "webhook_calls"]),
    ]
    assert request.tags[SOURCE_TAG] == "kazan, moscow"
    assert "a run starts for kazan, moscow" in request.tags["callkeeper/inbox"]
    # Dagster's queue has it before refreshes that are due in the same minute.
    assert int(request.tags["dagster/priority"]) > 0
    again = inbox.tick(result.cursor)
    assert not again.run_requests, "the same payloads wait: the run has not had its time"
    assert again.skip_reason is not None
    assert "kazan has failed 1 time, is tried again at" in str(again.skip_reason.skip_message)


def test_a_tick_with_nothing_to_do_says_so(inbox: Inbox) -> None:
    result = inbox.tick()
    assert str(result.skip_reason and result.skip_reason.skip_message) == (
        "Nothing waits in the inbox."
    )


@pytest.mark.parametrize("has_started", [False, True])
def test_a_tick_waits_for_a_run_under_way_but_not_for_a_dead_one(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch, has_started: bool
) -> None:
    """One just launched has not got its lock yet; one that is without it for long is dead.

    With our storage, one that has started without it is so at once (worker/test_dead_runs.py).
    """
    inbox.receive(inbox.sources[0], recent_payload(1))
    job = inbox.definitions.resolve_job_def("webhook_inbox")
    run = inbox.instance.create_run_for_job(job, status=dg.DagsterRunStatus.NOT_STARTED)
    launched = dg.DagsterEvent(dg.DagsterEventType.RUN_STARTING.value, job.name)
    inbox.instance.report_dagster_event(launched, run.run_id)
    assert not inbox.tick().run_requests
    if has_started:
        started = dg.DagsterEvent(dg.DagsterEventType.RUN_START.value, job.name)
        inbox.instance.report_dagster_event(started, run.run_id)
        assert not inbox.tick().run_requests, "its step may not have begun"
    monkeypatch.setattr("callkeeper_assets.dagster_ext.dead_runs._UNTIL_START", timedelta(-1))
    with held_run_lock(inbox.url, run.run_id):
        waits = inbox.tick()
        assert f"wait for run {run.run_id} to end" in str(
            waits.skip_reason and waits.skip_reason.skip_message
        )
    assert len(inbox.tick().run_requests or ()) == 1


def test_a_tick_waits_for_a_run_however_long_it_waits_to_be_launched(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox.receive(inbox.sources[0], recent_payload(1))
    job = inbox.definitions.resolve_job_def("webhook_inbox")
    run = inbox.instance.create_run_for_job(job, status=dg.DagsterRunStatus.NOT_STARTED)
    in_an_hour = time.time() + 3600
    monkeypatch.setattr(time, "time", lambda: in_an_hour)
    waits = inbox.tick()
    assert f"wait for run {run.run_id} to end" in str(
        waits.skip_reason and waits.skip_reason.skip_message
    )


def test_sources_without_webhooks_have_neither_asset_nor_sensor(source: Source) -> None:
    definitions = dg.Definitions.merge(
        build_shared_definitions([source]), build_source_definitions(source)
    )
    keys = {spec.key.path[-1] for spec in definitions.resolve_all_asset_specs()}
    assert "webhook_calls" not in keys
    assert [sensor.name for sensor in definitions.sensors or ()] == ["run_janitor", "source_watch"]


def refresh(inbox: Inbox, source: Source) -> dg.AssetCheckEvaluation:
    """Refresh today and return what the check says."""
    today = source.today()
    job = inbox.definitions.resolve_job_def(name_refresh_job(source.name))
    ops = {
        node.name: {"config": {"force": False}}
        for node in job.nodes
        if not node.name.endswith(("webhooks_arrive", "webhook_audit"))
    }
    result = job.execute_in_process(
        instance=inbox.instance,
        tags=build_range_tags(today - timedelta(days=2), today),
        run_config={**QUIET, "ops": ops},
        raise_on_error=False,
    )
    assert result.success, [event.message for event in result.all_events if event.is_failure]
    (evaluation,) = [
        one for one in result.get_asset_check_evaluations() if one.check_name == "webhooks_arrive"
    ]
    return evaluation


def test_a_refresh_warns_when_no_webhooks_come_though_calls_go_on(
    inbox: Inbox,
) -> None:
    moscow = inbox.sources[1]
    # Nobody could send one before: the calls of the days that are there are no reproach.
    evaluation = refresh(inbox, moscow)
    assert evaluation.passed
    assert evaluation.metadata["calls_since"].value == 0
    a_day_ago = datetime.now(UTC) - timedelta(days=1)
    inbox.instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(
            asset_key=evaluation.asset_key,
            check_name=evaluation.check_name,
            passed=True,
            metadata={"asked_since": dg.MetadataValue.timestamp(a_day_ago)},
        )
    )
    evaluation = refresh(inbox, moscow)
    assert not evaluation.passed
    assert evaluation.severity == dg.AssetCheckSeverity.WARN
    shown = f"{a_day_ago.astimezone(moscow.time_zone):%Y-%m-%d %H:%M} Europe/Moscow"
    assert f"calls without a webhook since {shown}" in str(evaluation.description)
    assert "see that the receiver runs" in str(evaluation.description)

    inbox.receive(moscow, recent_payload(1))
    evaluation = refresh(inbox, moscow)
    assert evaluation.passed
    assert evaluation.metadata["calls_since"].value == 0

    with psycopg.connect(inbox.url) as connection:
        connection.execute("UPDATE callkeeper_webhooks SET received_at = now() - interval '2 days'")
    evaluation = refresh(inbox, moscow)
    assert not evaluation.passed
    since = evaluation.metadata["calls_since"].value
    assert isinstance(since, int)
    # Of a day, since when they are expected; how many there are is the day's chance.
    with psycopg.connect(inbox.url) as connection:
        row = connection.execute(
            "SELECT count(*) FROM callkeeper_calls JOIN general_accounts USING (account_id)"
            " WHERE name = 'moscow' AND origin = 'api' AND called_at > %s"
            " AND called_at < now() - interval '10 minutes'",
            (a_day_ago,),
        ).fetchone()
    assert row is not None
    assert row[0] > 20
    # One may have come of age meanwhile.
    assert row[0] - 1 <= since <= row[0]


def hinting(inbox: Inbox) -> Inbox:
    """The same sources under the API that shows what is hinted at."""
    return replace(inbox, sources=[replace(one, api="ckct") for one in inbox.sources])


def test_a_hint_has_the_sensor_ask_for_the_sources_refresh(inbox: Inbox) -> None:
    """Once: it is not asked for again while it may be under way, or within two minutes of it."""
    inbox = hinting(inbox)
    kazan, moscow = inbox.sources
    today = kazan.today().isoformat()
    now = datetime.now(kazan.time_zone) - timedelta(seconds=1)
    inbox.receive(kazan, *({"client_number": n, "time_start": f"{now:%H:%M}"} for n in range(9)))
    (request,) = inbox.tick().run_requests or ()
    assert request.job_name == "webhook_inbox"
    assert inbox.run(kazan, moscow).success
    assert materializations(inbox.instance, kazan)[0]["hints"] == 9
    first = inbox.tick()
    (request,) = first.run_requests or ()
    assert request.job_name == "kazan_refresh"
    assert request.tags["callkeeper/source"] == "kazan"
    assert request.tags["dagster/asset_partition_range_end"] == today
    assert request.run_key
    again = inbox.tick(first.cursor)
    assert not again.run_requests
    assert "kazan: the next run is at" in str(again.skip_reason)
    # A daemon that died before it kept its cursor asks for the very same run.
    (same,) = inbox.tick().run_requests or ()
    assert same.run_key == request.run_key


def test_hints_of_a_source_whose_api_changed_start_nothing(inbox: Inbox) -> None:
    hinted = hinting(inbox)
    hinted.receive(hinted.sources[0], {"client_number": 1})
    assert hinted.run(*hinted.sources).success
    changed = [replace(one, api="callkeeper") for one in inbox.sources]
    tick = replace(inbox, sources=changed).tick()
    assert not tick.run_requests
    assert "its API tells of no such calls" in str(tick.skip_reason)


def test_a_source_that_is_broken_since_is_left_out_of_the_run_of_the_others(
    inbox: Inbox, tmp_path: Path
) -> None:
    files = {}
    for source in inbox.sources:
        files[source.name] = tmp_path / source.name / "defs.yaml"
        files[source.name].parent.mkdir()
        files[source.name].write_text(
            "type: callkeeper_assets.CallKeeperSource\nattributes: {api_key: {env: K}}\n"
        )
    both = replace(inbox, sources=[replace(one, file=files[one.name]) for one in inbox.sources])
    kazan, moscow = both.sources
    definitions = both.definitions
    sensor = next(one for one in definitions.sensors or () if one.name == "webhook_inbox")
    for source in both.sources:
        both.receive(source, recent_payload(1))

    def ask() -> list[list[str]]:
        context = dg.build_sensor_context(instance=both.instance, definitions=definitions)
        result = sensor(context)
        assert isinstance(result, dg.SensorResult)
        return [
            sorted(key.path[0] for key in one.asset_selection or ())
            for one in result.run_requests or ()
        ]

    assert ask() == [["kazan", "moscow"]]
    os.utime(files[kazan.name], ns=(1, 1))
    assert ask() == [["kazan", "moscow"]], "a file that is changed and good"
    files[kazan.name].write_text("type: callkeeper_assets.CallKeeperSource\nattributes: {\n")
    assert ask() == [["moscow"]]
    files[moscow.name].unlink()
    assert ask() == []
