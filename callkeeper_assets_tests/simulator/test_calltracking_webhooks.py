"""Webhooks as the newer cabinet sends them: by any method; those of call tracking name no call."""

import datetime as dt
import json
from dataclasses import replace
from zoneinfo import ZoneInfo

import pytest

from callkeeper_assets.simulator.account import SimulatedAccount
from callkeeper_assets.simulator.server import RunningSimulator
from callkeeper_assets.simulator.webhook_settings import CALLTRACKING_PARAMETERS
from callkeeper_assets_tests.simulator.conftest import DAY
from callkeeper_assets_tests.simulator.receiver import Received, Receiver

_ZONE = "Asia/Vladivostok"


@pytest.fixture
def account(sim: RunningSimulator, receiver: Receiver) -> SimulatedAccount:
    """The main account, with calls of call tracking and a receiver."""
    account = sim.account("main")
    account.settings = replace(account.settings, calltracking_per_day=6)
    account.set_webhooks(url=receiver.url, calltracking=True, calltracking_zone=_ZONE)
    return account


def tracked(receiver: Receiver) -> list[Received]:
    return [one for one in receiver.received if b"client_number" in one.payload]


@pytest.mark.parametrize("method", ["POST", "GET", "PUT", "DELETE"])
def test_every_method_of_the_cabinet_is_sent(
    account: SimulatedAccount, receiver: Receiver, method: str
) -> None:
    account.set_webhooks(method=method, calltracking=False)
    sent = account.send_webhooks(DAY)
    assert {one.verb for one in receiver.received} == {one.method for one in sent} == {method}
    assert all(bool(one.body) == (method != "GET") for one in receiver.received)


def test_call_tracking_names_no_call_and_no_zone(
    account: SimulatedAccount, receiver: Receiver
) -> None:
    account.send_webhooks(DAY)
    bodies = [one.json for one in tracked(receiver)]
    assert len(bodies) == 6
    assert all(tuple(body) == CALLTRACKING_PARAMETERS for body in bodies)
    start, end = (
        dt.datetime.combine(day, dt.time(), account.zone)
        for day in (DAY, DAY + dt.timedelta(days=1))
    )
    calls = account.unified.list_others(int(start.timestamp()), int(end.timestamp()))
    reported = {(body["client_number"], body["time_start"]) for body in bodies}
    assert reported == {
        (
            call.client_phone,
            f"{dt.datetime.fromtimestamp(call.called_ts, ZoneInfo(_ZONE)):%Y-%m-%d %H:%M:%S}",
        )
        for call in calls
        if call.service == "calltracking"
    }


def test_its_parameters_are_renamed_and_sent_in_every_form(
    account: SimulatedAccount, receiver: Receiver
) -> None:
    names = {"client_number": "tel", "time_start": "when"}
    account.set_webhooks(method="GET", names=names)
    account.send_webhooks(DAY)
    pairs = [one.pairs for one in receiver.received if "tel" in one.pairs]
    assert len(pairs) == 6
    assert not {"client_number", "time_start", "id"} & set(pairs[0])
    receiver.received.clear()
    account.set_webhooks(method="PUT", content="json")
    account.send_webhooks(DAY)
    again = [json.loads(one.body) for one in receiver.received]
    assert sum("tel" in body for body in again) == 6
