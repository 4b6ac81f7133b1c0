"""Every documented failure: its status, its reason, both of its shapes."""

import pytest
import requests

from callkeeper_assets.simulator.server import RunningSimulator
from callkeeper_assets_tests.simulator.conftest import KEY, OLD_KEY, Asker

_DAY = "date[from]=2026-03-02&date[to]=2026-03-02"


@pytest.mark.parametrize(
    ("path", "status", "reason"),
    [
        (f"getCallsInfo?{_DAY}", 400, "Key 'api_key' is not defined!"),
        (f"getCallsInfo?api_key={KEY}", 400, "Key 'date' is not defined!"),
        (f"getCallInfo?api_key={KEY}", 400, "Key 'id_call' is not defined!"),
        (f"getCallsByStatus?api_key={KEY}&{_DAY}", 400, "Key 'statuses' is not defined!"),
        (f"getCallsInfo?api_key={'f' * 32}&{_DAY}", 403, "Not the correct key api"),
        (f"getCallsInfo?api_key={'Q' * 16}&{_DAY}", 403, "Not the correct key api"),
        (f"getEverything?api_key={KEY}", 404, "Mismatched request!"),
        (f"?api_key={KEY}", 404, "Mismatched request!"),
        (f"getCallsInfo?api_key={KEY}&date=2026-03-02", 406, "Date is not array"),
        (
            f"getCallsInfo?api_key={KEY}&date[from]=02.03.2026&date[to]=2026-03-02",
            406,
            "Wrong data type!",
        ),
        (
            f"getCallsInfo?api_key={KEY}&date[from]=2026-02-30&date[to]=2026-03-02",
            406,
            "Wrong data type!",
        ),
        (f"getCallsInfo?api_key={KEY}&{_DAY}&time_zone=Mars/Phobos", 406, "Wrong data type!"),
        (f"getCallsInfo?api_key={KEY}&{_DAY}&time_zone=UTC%2B25:00", 406, "Wrong data type!"),
        (f"getCallInfo?api_key={KEY}&id_call=abc", 406, "Wrong data type!"),
        (f"getCallsByStatus?api_key={KEY}&{_DAY}&statuses=200,200", 406, "Wrong data type!"),
        (f"getCallsInfo?api_key={KEY}&date[from]=2026-03-02", 409, "Not enough values"),
        (f"getCallInfo?api_key={KEY}&id_call=", 409, "Not enough values"),
        (f"getUserInfo?api_key={KEY[:20]}", 417, "Wrong length of the key"),
        (f"getUserInfo?api_key={'g' * 32}", 417, "The key is not hexadecimal"),
    ],
)
def test_a_wrong_request_fails_as_documented(
    sim: RunningSimulator, path: str, status: int, reason: str
) -> None:
    answer = requests.get(f"{sim.base_url}/{path}", timeout=10)
    assert (answer.status_code, answer.json()) == (status, [{"status": "fail", "reason": reason}])


@pytest.mark.parametrize("verb", ["PUT", "DELETE", "PATCH"])
def test_another_verb_than_get_and_post_is_refused(sim: RunningSimulator, verb: str) -> None:
    answer = requests.request(verb, f"{sim.base_url}/getUserInfo?api_key={KEY}", timeout=10)
    assert answer.status_code == 405
    assert answer.json() == [{"status": "fail", "reason": "Unknown request method!"}]


@pytest.mark.parametrize(
    ("refusal", "status", "reason"),
    [
        ("unauthorized_host", 401, "Unauthorized host!"),
        ("wrong_key", 403, "Not the correct key api"),
        ("unknown_user", 412, "Unknown user"),
    ],
)
def test_an_account_can_refuse_everything(
    sim: RunningSimulator, asker: Asker, refusal: str, status: int, reason: str
) -> None:
    sim.account("main").set_answers(refusal=refusal)
    for method in ("getUserInfo", "getCallsInfo"):
        answer = asker.ask(method, from_="2026-03-02", to="2026-03-02")
        assert (answer.status_code, answer.json()[0]["reason"]) == (status, reason)
    assert Asker(sim, OLD_KEY).ask("getUserInfo").status_code == 200


def test_failures_come_bare_and_with_status_200_by_switch(
    sim: RunningSimulator, asker: Asker
) -> None:
    sim.account("main").set_answers(failure_shape="object", failure_status="ok")
    answer = asker.ask("getCallInfo", id_call="abc")
    assert answer.status_code == 200
    assert answer.json() == {"status": "fail", "reason": "Wrong data type!"}
