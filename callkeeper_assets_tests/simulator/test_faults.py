"""Faults: what each looks like to a client, when it strikes, and that it passes."""

import http.client
import json
import time

import pytest
import requests

from callkeeper_assets.simulator.server import RunningSimulator
from callkeeper_assets.simulator.settings import Fault
from callkeeper_assets_tests.simulator.conftest import Asker

_WINDOW = {"from_": "2026-03-02", "to": "2026-03-02", "time_zone": "Europe/Moscow"}


def _assert_is_well(asker: Asker) -> None:
    assert asker.ask("getCallsInfo", **_WINDOW).json()["result"]


def test_a_server_error_strikes_the_next_two_requests_and_passes(
    sim: RunningSimulator, asker: Asker
) -> None:
    sim.account("main").set_faults(Fault("server_error", times=2, status=502))
    statuses = [asker.ask("getCallsInfo", **_WINDOW).status_code for _ in range(4)]
    assert statuses == [502, 502, 200, 200]


def test_too_many_requests_says_when_to_come_again_only_if_set(
    sim: RunningSimulator, asker: Asker
) -> None:
    sim.account("main").set_faults(
        Fault("too_many_requests", times=1, retry_after="3"), Fault("too_many_requests", times=1)
    )
    first, second = asker.ask("getUserInfo"), asker.ask("getUserInfo")
    assert (first.status_code, first.headers["Retry-After"]) == (429, "3")
    assert (second.status_code, second.headers.get("Retry-After")) == (429, None)
    _assert_is_well(asker)


def test_html_comes_in_place_of_json_with_status_200(sim: RunningSimulator, asker: Asker) -> None:
    sim.account("main").set_faults(Fault("html", times=1))
    answer = asker.ask("getCallsInfo", **_WINDOW)
    assert answer.status_code == 200
    assert answer.text.startswith("<!DOCTYPE html>")
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"


def test_a_cut_body_has_its_right_length_but_is_no_json(
    sim: RunningSimulator, asker: Asker
) -> None:
    sim.account("main").set_faults(Fault("cut_body", times=1))
    answer = asker.ask("getCallsInfo", **_WINDOW)
    assert answer.status_code == 200
    assert int(answer.headers["Content-Length"]) == len(answer.content) > 1000
    with pytest.raises(json.JSONDecodeError):
        answer.json()
    _assert_is_well(asker)


def test_a_cut_connection_ends_before_the_promised_length(
    sim: RunningSimulator, asker: Asker
) -> None:
    sim.account("main").set_faults(Fault("cut_connection", times=1))
    with pytest.raises(requests.exceptions.ChunkedEncodingError) as caught:
        asker.ask("getCallsInfo", **_WINDOW)
    assert "IncompleteRead" in str(caught.value)
    _assert_is_well(asker)


def test_a_hanging_answer_outlasts_the_clients_patience(
    sim: RunningSimulator, asker: Asker
) -> None:
    sim.account("main").set_faults(Fault("hang", times=1, seconds=30))
    with pytest.raises(requests.exceptions.ReadTimeout):
        requests.get(f"{sim.base_url}/getUserInfo", params={"api_key": asker.key}, timeout=(5, 0.2))
    _assert_is_well(asker)


def test_a_hang_that_ends_drops_the_connection(sim: RunningSimulator, asker: Asker) -> None:
    sim.account("main").set_faults(Fault("hang", times=1, seconds=0.05))
    with pytest.raises(requests.exceptions.ConnectionError) as caught:
        asker.ask("getUserInfo")
    assert isinstance(caught.value.args[0].args[1], http.client.RemoteDisconnected)


def test_latency_delays_a_right_answer(sim: RunningSimulator, asker: Asker) -> None:
    sim.account("main").set_faults(Fault("latency", times=1, seconds=0.15))
    started = time.monotonic()
    _assert_is_well(asker)
    assert time.monotonic() - started >= 0.15


def test_a_fault_with_a_probability_strikes_about_so_often_and_by_seed(
    sim: RunningSimulator, asker: Asker
) -> None:
    sim.account("main").set_faults(Fault("server_error", probability=0.3))
    statuses = [asker.ask("getUserInfo").status_code for _ in range(60)]
    assert 8 <= statuses.count(503) <= 30
    assert set(statuses) == {200, 503}


def test_a_fault_of_one_method_spares_the_others(sim: RunningSimulator, asker: Asker) -> None:
    sim.account("main").set_faults(Fault("server_error", methods=("getCallsInfo",)))
    assert asker.ask("getUserInfo").status_code == 200
    assert asker.ask("getCallsInfo", **_WINDOW).status_code == 503


@pytest.mark.parametrize("limit", [{"max_calls": 20}, {"max_days": 0.5}])
def test_a_window_over_the_limit_fails_until_it_is_halved(
    sim: RunningSimulator, asker: Asker, limit: dict[str, float]
) -> None:
    sim.account("main").set_answers(**limit)
    assert asker.ask("getCallsInfo", **_WINDOW).status_code == 504
    hour = {"from_": "2026-03-02T10:00:00", "to": "2026-03-02T11:00:00"}
    answer = asker.ask("getCallsInfo", time_zone="Europe/Moscow", **hour)
    assert answer.status_code == 200
    assert answer.json()["result"]


def test_a_window_over_the_limit_can_come_cut_or_hang(sim: RunningSimulator, asker: Asker) -> None:
    account = sim.account("main")
    account.set_answers(max_calls=20, over_limit="cut_body")
    with pytest.raises(json.JSONDecodeError):
        asker.ask("getCallsInfo", **_WINDOW).json()
    account.set_answers(over_limit="cut_connection")
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        asker.ask("getCallsInfo", **_WINDOW)
    account.set_answers(over_limit="hang", hang_sec=0.05)
    with pytest.raises(requests.exceptions.ConnectionError):
        asker.ask("getCallsInfo", **_WINDOW)
