"""Every method of the statistics API, by GET and by POST."""

import requests

from callkeeper_assets.simulator.server import RunningSimulator
from callkeeper_assets_tests.simulator.conftest import KEY, OLD_KEY, Asker


def _id(call: dict[str, object]) -> int:
    return int(str(call["id"]))


def test_user_info_tells_until_when_the_account_is_paid(asker: Asker) -> None:
    [user] = asker.ask("getUserInfo").json()
    assert user["paid_till"] == "2030-07-01T00:00:00+03:00"


def test_one_call_is_found_by_its_id_as_the_period_showed_it(asker: Asker) -> None:
    shown = asker.calls("2026-03-02", "2026-03-02")
    found = asker.ask("getCallInfo", id_call=str(shown[3]["id"])).json()["result"]
    assert found == [shown[3]]


def test_an_id_that_no_call_has_answers_as_an_empty_period(asker: Asker) -> None:
    for id_call in ("1", "3999999999999", "3401899999"):
        assert asker.ask("getCallInfo", id_call=id_call).json() == {"result": []}


def test_a_call_added_late_is_found_by_its_id(sim: RunningSimulator, asker: Asker) -> None:
    (added,) = sim.account("main").add(sim.account("main").settings.first_day)
    found = asker.ask("getCallInfo", id_call=str(added.call_id)).json()["result"]
    assert [_id(call) for call in found] == [added.call_id]


def test_completed_calls_are_those_that_are_final(sim: RunningSimulator, asker: Asker) -> None:
    held = {
        change.call_id
        for code in (1, 2, 707)
        for change in sim.account("main").hold(
            sim.account("main").settings.first_day, count=2, code=code
        )
    }
    window = {"from_": "2026-01-01", "to": "2026-01-01", "time_zone": "Europe/Moscow"}
    everything = asker.ask("getCallsInfo", **window).json()["result"]
    completed = asker.ask("getCallsCompleted", **window).json()["result"]
    assert len(held) == 6
    assert completed == [call for call in everything if _id(call) not in held]


def test_calls_by_status_are_those_of_the_pairs_asked_for(asker: Asker) -> None:
    window = {"from_": "2026-03-01", "to": "2026-03-31", "time_zone": "Europe/Moscow"}
    everything = asker.ask("getCallsInfo", **window).json()["result"]
    asked = asker.ask("getCallsByStatus", statuses="200/200, 486/0", **window).json()["result"]
    pairs = {(int(call["status_code"]), int(call["status2_code"])) for call in asked}
    assert pairs == {(200, 200), (486, 0)}
    assert asked == [
        call
        for call in everything
        if (int(call["status_code"]), int(call["status2_code"])) in pairs
    ]


def test_a_form_by_post_is_answered_as_the_same_query(sim: RunningSimulator, asker: Asker) -> None:
    form = {
        "api_key": KEY,
        "date[from]": "2026-03-02",
        "date[to]": "2026-03-02",
        "time_zone": "Europe/Moscow",
    }
    posted = requests.post(f"{sim.base_url}/getCallsInfo", data=form, timeout=10)
    assert posted.json()["result"] == asker.calls("2026-03-02", "2026-03-02")


def test_an_old_key_of_sixteen_letters_and_digits_has_its_own_calls(
    sim: RunningSimulator, asker: Asker
) -> None:
    old = Asker(sim, OLD_KEY).calls("2026-03-02", "2026-03-02")
    assert old
    assert old != asker.calls("2026-03-02", "2026-03-02")


def test_nothing_is_served_from_the_future(asker: Asker) -> None:
    times = [int(call["date_timestamp"]) for call in asker.calls("2026-03-31", "2026-04-02")]
    assert times
    assert max(times) <= 1774958400
