"""The audit in Dagster: each day's check with counts, sample and what to do; the chart."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta

import dagster as dg
import pytest

from callkeeper_assets.assets import build_shared_definitions, build_source_definitions
from callkeeper_assets.assets.charts import draw_losses
from callkeeper_assets.assets.webhooks import evaluate_audit
from callkeeper_assets.callkeeper.records import ApiName
from callkeeper_assets.cli.status import _describe_audit
from callkeeper_assets.config.source import Source, Webhook
from callkeeper_assets.postgres.url import connect
from callkeeper_assets.raw.store import RawStore
from callkeeper_assets.simulator.server import RunningSimulator
from callkeeper_assets.webhooks.audit import AuditedDay, DayLoss, Hook, LostWebhook, audit_statuses
from callkeeper_assets_tests.assets.conftest import FIRST, LAST, Loader
from callkeeper_assets_tests.assets.test_day_chart import find_bars, read_picture
from callkeeper_assets_tests.simulator.receiver import Receiver, run_receiver
from callkeeper_assets_tests.webhooks.inbox_of import Office

DAYS = [str(FIRST + timedelta(days=n)) for n in range(3)]
_NAME_CALLS = """
    UPDATE callkeeper_webhooks SET call_id = (convert_from(body, 'UTF8')::jsonb->>'id')::bigint
"""
FROM, TO = date(2026, 1, 1), date(2026, 3, 31)


@pytest.fixture
def api() -> ApiName:
    """The one that lists webhooks."""
    return "ckct"


@pytest.fixture
def audited(source: Source) -> Source:
    """The source with webhooks."""
    return replace(source, webhook=Webhook("TOKEN", {}, timedelta(hours=48)))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Takes the webhooks and keeps none: what stands between CallKeeper and our receiver."""
    with run_receiver() as running:
        yield running


def assets_of(source: Source) -> set[str]:
    definitions = dg.Definitions.merge(
        build_shared_definitions([source]), build_source_definitions(source)
    )
    return {spec.key.path[-1] for spec in definitions.resolve_all_asset_specs()}


def test_only_sources_that_take_webhooks_and_whose_api_lists_them_have_an_audit(
    source: Source, audited: Source
) -> None:
    assert "webhook_audit" in assets_of(audited)
    assert "webhook_audit" not in assets_of(source)
    assert "webhook_audit" not in assets_of(replace(audited, api="callkeeper"))


def test_each_day_shows_its_own_check_and_the_newest_one_the_chart(
    audited: Source,
    loader: Loader,
    simulator: RunningSimulator,
    receiver: Receiver,
    database: str,
) -> None:
    account = simulator.account("moscow")
    account.set_webhooks(url=f"{receiver.url}/webhooks/moscow/token")
    sent = account.send_webhooks(FIRST)
    assert {one.status for one in sent} == {200}
    assert loader.load(audited).success
    checks = loader.checks(audited, "webhook_audit", "webhooks_held")
    assert sorted(map(str, checks)) == DAYS
    assert [checks[day].passed for day in DAYS] == [False, True, True]
    assert loader.current_days(audited, "webhook_audit", "webhooks_held") == DAYS
    found = checks[DAYS[0]]
    assert found.severity == dg.AssetCheckSeverity.ERROR
    assert f"Of {len(sent)} webhooks that CallKeeper says it sent, {len(sent)}" in str(
        found.description
    )
    assert f"it saw: {len(sent)} × 200" in str(found.description)
    assert "a proxy or a firewall" in str(found.description)
    assert len(found.metadata["sample"].value.records) == 10
    assert found.metadata["sample_is_cut"].value is True
    metadata = loader.metadata(audited, "webhook_audit")
    assert [metadata[day]["loss_percent"] for day in DAYS] == [100.0, 0.0, 0.0]
    assert [day for day in DAYS if "trend" in metadata[day]] == [DAYS[-1]]

    payloads = [one.payload for one in sent]
    Office(database, RawStore("memory://unused"), audited).receive(*payloads)
    with connect(database, autocommit=True) as connection:
        connection.execute(_NAME_CALLS)
    assert loader.load(audited, FIRST, FIRST).success
    assert loader.checks(audited, "webhook_audit", "webhooks_held")[DAYS[0]].passed


def test_an_account_whose_answers_list_no_webhooks_was_not_audited(
    audited: Source, loader: Loader, simulator: RunningSimulator, database: str
) -> None:
    simulator.account("moscow").set_answers(unified_hooks=False)
    assert loader.load(audited).success
    checks = loader.checks(audited, "webhook_audit", "webhooks_held")
    assert [checks[day].passed for day in DAYS] == [False] * 3
    assert {checks[day].severity for day in DAYS} == {dg.AssetCheckSeverity.WARN}
    metadata = loader.metadata(audited, "webhook_audit")
    for day in DAYS:
        assert "lost" not in metadata[day]
        assert metadata[day]["audit"] == "not audited: the source's answers list no webhooks"
    status = audit_statuses(database, ["moscow"], FIRST)["moscow"]
    assert (status.days_listed, status.days_unlisted) == (0, 3)
    assert _describe_audit(status) == (
        "webhooks not audited: the source's answers list no webhooks"
    )
    simulator.account("moscow").set_answers(unified_hooks=True)
    assert loader.load(audited, FIRST, FIRST).success
    said = _describe_audit(audit_statuses(database, ["moscow"], FIRST)["moscow"])
    assert "2 days not audited: the source's answers list no webhooks" in said


def test_a_day_without_raw_calls_is_left_alone(
    audited: Source, loader: Loader, simulator: RunningSimulator
) -> None:
    """An empty answer for a day that had none is no file's matter, a missing file is."""
    assert loader.load(audited, FIRST, FIRST).success
    assert loader.load(audited, FIRST, LAST, only=["webhook_audit"]).success
    assert sorted(map(str, loader.metadata(audited, "webhook_audit"))) == DAYS[:1]
    assert simulator.account("moscow").requests["call/get"] > 0


def day_of(*statuses: int | None, is_held: bool = False) -> AuditedDay:
    found = tuple(
        LostWebhook(
            Hook(7, n, "Call is over", "POST", status, has_id=True),
            "lost" if status in {200, None} else "refused",
            is_held=is_held,
        )
        for n, status in enumerate(statuses)
    )
    return AuditedDay(FROM, 20, found, is_listed=True)


@pytest.mark.parametrize(
    ("day", "severity", "words"),
    [
        (day_of(404, 404), "ERROR", "callkeeper check moscow` prints the right one"),
        (day_of(503, None), "ERROR", "it saw: 1 × 503, 1 × no answer. The calls are in the tables"),
        (day_of(503), "ERROR", "See the receiver's log"),
        (day_of(None), "ERROR", "without an answer it was not reached"),
        (day_of(503, is_held=True), "WARN", "Nothing is lost: each came another time"),
    ],
)
def test_the_check_says_what_to_do(
    audited: Source, day: AuditedDay, severity: str, words: str
) -> None:
    verdict = evaluate_audit(audited, day)
    assert not verdict.passed
    assert verdict.severity == dg.AssetCheckSeverity[severity]
    assert words in str(verdict.description)
    assert "callkeeper_lost_webhooks names all of them" in str(verdict.description)


def test_a_day_whose_calls_list_no_webhooks_is_not_audited_and_says_so(audited: Source) -> None:
    """Nothing was found lost, because nothing was looked at: no tick, no numbers."""
    verdict = evaluate_audit(audited, AuditedDay(FROM, 0, (), is_listed=False))
    assert not verdict.passed
    assert verdict.severity == dg.AssetCheckSeverity.WARN
    assert str(verdict.description).startswith(
        "Not audited: the source's answers list no webhooks."
    )
    audit = dg.MetadataValue.text("not audited: the source's answers list no webhooks")
    assert verdict.metadata == {"audit": audit}
    assert evaluate_audit(audited, AuditedDay(FROM, 0, (), is_listed=None)).passed


def test_the_chart_shows_the_rate_of_each_day_and_tells_few_from_many() -> None:
    days = [DayLoss(FROM, 4, 1), DayLoss(FROM + timedelta(days=9), 1_000, 20), DayLoss(TO, 50, 0)]
    root, words = read_picture(draw_losses(days, FROM, TO))
    [few], [many] = find_bars(root, "#7cb5ec"), find_bars(root, "#c2410c")
    assert few[2] == pytest.approx(12.5 * many[2], rel=0.05), "25 percent are 12.5 times two"
    assert words == (
        "Webhooks lost by day: 21 of 1,054 sent from 2026-01-01 to 2026-03-31 are lost (1.99%)"
    )
    nothing, _ = read_picture(draw_losses([], FROM, TO))
    assert "No webhook was lost." in [one.text for one in nothing.iter() if one.text]
