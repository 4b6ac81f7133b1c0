"""Public clients of the API can talk to the simulator.

Each test asks and reads as one public client does (hexeh/CallkeeperAPI, its two versions): the same
URLs put together by hand, the same parameters, the same places looked at in the answers.
"""

import datetime as dt
import json
from urllib.parse import urlencode

import requests

from callkeeper_assets.simulator.running import RunningSimulator
from callkeeper_assets_tests.simulator.conftest import KEY


def test_a_client_that_reads_a_bare_user_and_sends_datetimes_as_python_prints_them(
    sim: RunningSimulator,
) -> None:
    url = f"{sim.base_url}/"
    user = json.loads(requests.get(f"{url}getUserInfo?api_key={KEY}", timeout=10).text)
    dt.datetime.strptime(user.get("paid_till")[:-6], "%Y-%m-%dT%H:%M:%S").astimezone()
    start = "2026-03-02"
    end = dt.datetime.strptime(start, "%Y-%m-%d").astimezone().replace(tzinfo=None)
    query = urlencode(
        {"api_key": KEY, "date[from]": start, "date[to]": str(end + dt.timedelta(days=1))}
    )
    answer = requests.get(f"{url}getCallsCompleted?{query}", timeout=10)
    assert answer.status_code == 200
    calls = json.loads(answer.text)["result"]
    assert calls
    query = urlencode({"api_key": KEY, "id_call": str(calls[0]["id"])})
    one = json.loads(requests.get(f"{url}getCallInfo?{query}", timeout=10).text)
    assert one["result"] == [calls[0]]
    query = urlencode(
        {
            "api_key": KEY,
            "date[from]": start,
            "date[to]": "2026-03-03",
            "statuses": "200/0,200/200",
        }
    )
    answer = requests.get(f"{url}getCallsByStatus?{query}", timeout=10)
    assert {int(call["status_code"]) for call in answer.json()["result"]} == {200}


def test_a_client_that_reads_its_failure_from_a_list(sim: RunningSimulator) -> None:
    for account in sim.simulator.accounts:
        account.set_answers(failure_shape="list")
    answer = requests.get(f"{sim.base_url}/getUserInfo?api_key={'e' * 32}", timeout=10)
    assert answer.status_code == 403
    assert json.loads(answer.text)[0]["reason"] == "Not the correct key api"


def test_a_client_that_reads_its_user_from_a_list_and_sends_w3c_moments(
    sim: RunningSimulator,
) -> None:
    sim.account("main").set_answers(user_info_shape="list")
    answer = requests.get(f"{sim.base_url}/getUserInfo?api_key={KEY}", timeout=10)
    paid_till = json.loads(answer.text)[0].get("paid_till")
    assert dt.datetime.fromisoformat(paid_till).year == 2030
    query = urlencode(
        {
            "api_key": KEY,
            "date[from]": "2026-03-02T00:00:01",
            "date[to]": "2026-03-02T23:59:59",
        }
    )
    answer = requests.get(f"{sim.base_url}/getCallsCompleted?{query}", timeout=10)
    assert json.loads(answer.text).get("result", [])
