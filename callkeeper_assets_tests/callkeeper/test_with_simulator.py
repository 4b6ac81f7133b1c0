"""The client against the simulator: every reading of the documents, every fault."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

import pytest

from callkeeper_assets.callkeeper.client import CallKeeperClient
from callkeeper_assets.callkeeper.records import AbortError
from callkeeper_assets.simulator.account import SimulatedAccount
from callkeeper_assets.simulator.server import run_simulator
from callkeeper_assets.simulator.settings import AccountSettings, AnswerSettings, Fault, Refusal
from callkeeper_assets_tests.callkeeper.conftest import QUICK, fetch_day

KEY = "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a"
FIRST = date(2026, 3, 27)
DAYS = [FIRST + timedelta(days=i) for i in range(5)]


@contextmanager
def _open(
    answers: AnswerSettings | None = None, zone: str = "Europe/Berlin", parallel_days: int = 4
) -> Iterator[tuple[CallKeeperClient, SimulatedAccount]]:
    account = AccountSettings(key=KEY, name="office", calls_per_day=150, time_zone=zone)
    now = datetime(2026, 6, 1, tzinfo=UTC)
    with (
        run_simulator([account], answers=answers, now=now) as running,
        CallKeeperClient(
            source="office",
            api_key=KEY,
            base_url=running.base_url,
            time_zone=ZoneInfo(zone),
            retry=QUICK,
            timeout_sec=1.0,
            parallel_days=parallel_days,
        ) as client,
    ):
        yield client, running.account("office")


def _assert_true(client: CallKeeperClient, account: SimulatedAccount) -> None:
    for day in client.fetch_days(DAYS):
        truth = account.truth(day.day, day.day)
        assert truth.count == len(day) > 0
        assert sorted(day.call_ids) == sorted(call["call_id"] for call in truth.calls)  # type: ignore[type-var]


@pytest.mark.parametrize(
    "switches",
    [
        {"date_to": "exclusive"},
        {"success_shape": "list"},
        {"empty_period": "failure", "empty_failure_status": 404, "max_days": 0.1},
        {"mark_keys": "utm", "nesting": "beside", "unknown_fields": True},
        {"max_calls": 20, "over_limit": "cut_body"},
        {"max_days": 0.3, "over_limit": "cut_connection"},
        {"max_calls": 50, "over_limit": "server_error", "failure_shape": "object"},
    ],
    ids=str,
)
def test_every_reading_of_the_documents_gives_the_sources_truth(switches: dict[str, Any]) -> None:
    with _open(AnswerSettings(**switches)) as (client, account):
        _assert_true(client, account)
        assert client.get_user_info().paid_till is not None


@pytest.mark.parametrize(
    "fault",
    [
        Fault("server_error", 0.3),
        Fault("too_many_requests", 0.2),
        Fault("too_many_requests", times=4, retry_after="0"),
        Fault("cut_body", 0.3),
        Fault("cut_connection", 0.3),
        Fault("html", times=3),
        Fault("latency", seconds=0.01),
        Fault("hang", times=2, seconds=2),
    ],
    ids=lambda fault: f"{fault.kind} {fault.times} {fault.retry_after}",
)
def test_every_passing_fault_ends_right(fault: Fault) -> None:
    with _open() as (client, account):
        account.set_faults(fault)
        _assert_true(client, account)


@pytest.mark.parametrize("refusal", ["unauthorized_host", "wrong_key", "unknown_user"])
@pytest.mark.parametrize("failure_status", ["documented", "ok"])
def test_a_refusal_is_permanent_with_its_own_status_and_with_200(
    refusal: Refusal, failure_status: Literal["documented", "ok"]
) -> None:
    answers = AnswerSettings(refusal=refusal, failure_status=failure_status)
    with _open(answers) as (client, account), pytest.raises(AbortError, match="source 'office'"):
        fetch_day(client, FIRST)
    assert account.requests["getCallsInfo"] == 1


def test_no_more_requests_are_under_way_than_days_side_by_side() -> None:
    with _open(parallel_days=2) as (client, account):
        account.set_faults(Fault("latency", seconds=0.02))
        _assert_true(client, account)
        assert account.most_at_once == 2
