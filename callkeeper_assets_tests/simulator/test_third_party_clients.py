"""Public clients of the API can talk to the simulator, by its defaults.

Each test asks and reads as one of two known clients of api.callkeeper.ru does (hexeh/CallkeeperAPI
and a later one of the same layout): the same URLs put together by hand, the same parameters, the
same places looked at in the answers.
"""

import datetime as dt
import json
from urllib.parse import urlencode

import pytest
import requests

from callkeeper_assets.simulator.server import RunningSimulator
from callkeeper_assets_tests.simulator.conftest import KEY


def _ask(sim: RunningSimulator, method: str, **query: str) -> requests.Response:
    names = {"first": "date[from]", "last": "date[to]"}
    parameters = {"api_key": KEY, **{names.get(name, name): text for name, text in query.items()}}
    return requests.get(f"{sim.base_url}/{method}?{urlencode(parameters)}", timeout=10)


def test_calls_are_read_with_bounds_as_python_prints_them(sim: RunningSimulator) -> None:
    start = "2026-03-02"
    end = dt.datetime.strptime(start, "%Y-%m-%d") + dt.timedelta(days=1)  # noqa: DTZ007 - as it does
    assert str(end) == "2026-03-03 00:00:00"
    answer = _ask(sim, "getCallsCompleted", first=start, last=str(end))
    assert answer.status_code == 200
    calls = json.loads(answer.text)["result"]
    assert calls
    one = json.loads(_ask(sim, "getCallInfo", id_call=str(calls[0]["id"])).text)
    assert one["result"] == [calls[0]]
    answer = _ask(sim, "getCallsByStatus", first=start, last=str(end), statuses="200/0,200/200")
    assert {int(call["status_code"]) for call in answer.json()["result"]} == {200}


def test_bounds_without_a_zone_are_utc(sim: RunningSimulator) -> None:
    answer = _ask(sim, "getCallsInfo", first="2026-03-02 06:00:00", last="2026-03-02 09:00:00")
    times = [call["date"] for call in answer.json()["result"]]
    assert times
    assert all("2026-03-02 06:00:00" <= time <= "2026-03-02 09:00:00" for time in times)


@pytest.mark.parametrize(
    ("key", "status", "reason"),
    [
        ("e" * 32, 403, "Not the correct key api"),
        ("my_own_api_key", 417, "Wrong length of the key"),
    ],
)
def test_a_failure_is_read_from_a_list(
    sim: RunningSimulator, key: str, status: int, reason: str
) -> None:
    answer = requests.get(f"{sim.base_url}/getUserInfo?api_key={key}", timeout=10)
    assert answer.status_code == status
    assert json.loads(answer.text)[0]["reason"] == reason


def test_the_user_is_read_from_a_list_and_w3c_moments_are_sent(sim: RunningSimulator) -> None:
    user = json.loads(_ask(sim, "getUserInfo").text)[0]
    paid_till = dt.datetime.strptime(user.get("paid_till")[:-6], "%Y-%m-%dT%H:%M:%S")  # noqa: DTZ007
    assert paid_till.year == 2030
    answer = _ask(sim, "getCallsCompleted", first="2026-03-02T00:00:01", last="2026-03-02T23:59:59")
    assert json.loads(answer.text).get("result", [])


def test_the_user_is_bare_by_switch(sim: RunningSimulator) -> None:
    """As the stored version of hexeh/CallkeeperAPI reads it; the later client reads a list."""
    sim.account("main").set_answers(user_info_shape="object")
    user = json.loads(_ask(sim, "getUserInfo").text)
    assert user.get("paid_till")[:-6] == "2030-07-01T00:00:00"
