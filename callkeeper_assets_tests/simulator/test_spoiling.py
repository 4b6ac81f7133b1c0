"""The simulator's records that are no calls: none of them can be used, and the truth has none."""

import datetime as dt

import pytest

from callkeeper_assets.callkeeper.records import ApiName
from callkeeper_assets.simulator.account import SimulatedAccount
from callkeeper_assets.simulator.generation import day_bounds
from callkeeper_assets.simulator.settings import AccountSettings, AnswerSettings, Clock
from callkeeper_assets_tests.callkeeper.keying import key_payloads

DAY = dt.date(2026, 3, 2)
KEY = "0123456789abcdef0123456789abcdef"


def _open(**switches: float) -> SimulatedAccount:
    settings = AccountSettings(
        key=KEY, calls_per_day=300, rhythm="flat", calltracking_per_day=50, imports_per_day=20
    )
    answers = AnswerSettings(**switches)  # type: ignore[arg-type]
    return SimulatedAccount(settings, answers, Clock(dt.datetime(2026, 6, 1, tzinfo=dt.UTC)))


def _payloads(account: SimulatedAccount, api: ApiName) -> list[bytes]:
    start, end = day_bounds(DAY, account.zone)
    if api == "ckct":
        return [b"{" + piece for piece in account.unified.read(start, end)]
    return [
        served.read(place, place + 1)
        for served, low, high in account.serve_days(start, end)
        for place in range(low, high)
    ]


@pytest.mark.parametrize("api", ["callkeeper", "ckct"])
def test_a_share_of_the_records_cannot_be_used_in_many_ways(api: ApiName) -> None:
    account = _open(unusable=0.2)
    payloads = _payloads(account, api)
    found = key_payloads(api, payloads)
    truth = account.truth(DAY, DAY, api=api).calls
    assert set(found) == {one["call_id"] for one in truth}
    assert len(found) + len(found.unusable) == len(payloads)
    assert 0.1 < len(found.unusable) / len(payloads) < 0.3
    assert len({one.reason for one in found.unusable.values()}) >= 4
    assert _payloads(account, api) == payloads


def test_a_share_of_the_calls_has_no_call_time_and_its_time_all_the_same() -> None:
    account = _open(without_call_time=0.3)
    found = key_payloads("ckct", _payloads(account, "ckct"))
    truth = account.truth(DAY, DAY, api="ckct").calls
    assert 0.2 < len(found.derived) / len(found) < 0.4
    assert not found.unusable
    assert {call_id: epoch for call_id, (epoch, _) in found.items()} == {
        one["call_id"]: int(one["called_at"].timestamp())  # type: ignore[union-attr]
        for one in truth
    }
