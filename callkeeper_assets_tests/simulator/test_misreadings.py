"""Switches of a source that does not heed what it is asked for, and of the other's address."""

import datetime as dt

import pytest
import requests

from callkeeper_assets.simulator.server import RunningSimulator
from callkeeper_assets_tests.simulator.conftest import DAY, KEY, NOW, Asker
from callkeeper_assets_tests.simulator.test_control import post, run_process

_MOSCOW = dt.timezone(dt.timedelta(hours=3))
_START = int(dt.datetime(DAY.year, DAY.month, DAY.day, 9, tzinfo=_MOSCOW).timestamp())
_END = _START + 3 * 3600


def _times(sim: RunningSimulator, api: str) -> list[int]:
    """The times of what either API sends for the three hours from nine on, Moscow's."""
    if api == "callkeeper":
        asked = (f"{DAY}T09:00:00", f"{DAY}T12:00:00")
        return [int(call["date_timestamp"]) for call in Asker(sim).calls(*asked)]
    url = f"{sim.base_urls['ckct']}?json/v3/{KEY}/call/get/0/{_START}/{_END}"
    calls = requests.get(url, timeout=10).json()
    texts = [dt.datetime.fromisoformat(call["callTime"]) for call in calls]
    return sorted(int(moment.replace(tzinfo=dt.UTC).timestamp()) for moment in texts)


@pytest.mark.parametrize("api", ["callkeeper", "ckct"])
def test_bounds_can_be_ignored_one_or_both(sim: RunningSimulator, api: str) -> None:
    account = sim.account("main")
    heeded = _times(sim, api)
    assert heeded
    assert all(_START <= time <= _END for time in heeded)
    account.set_answers(unified_page_length=100_000, bounds="only_from")
    later = _times(sim, api)
    account.set_answers(bounds="only_to")
    earlier = _times(sim, api)
    account.set_answers(bounds="ignored")
    everything = _times(sim, api)
    assert min(later) >= _START
    assert max(earlier) <= _END
    assert max(later) == max(everything) > _END
    assert min(earlier) == min(everything) < _START
    assert len(later) + len(earlier) - len(heeded) == len(everything)


@pytest.mark.parametrize("api", ["callkeeper", "ckct"])
def test_bounds_can_be_read_in_a_zone_of_the_sources_own(sim: RunningSimulator, api: str) -> None:
    """Asked in Moscow's time, or in epoch seconds, which are UTC: it reads both in a third zone."""
    sim.account("main").set_answers(bounds_zone="UTC+01:00")
    times = _times(sim, api)
    shift = -2 * 3600 if api == "callkeeper" else 3600
    assert times
    assert all(_START - shift <= time <= _END - shift for time in times)


@pytest.mark.parametrize("api", ["callkeeper", "ckct"])
@pytest.mark.parametrize("order", ["newest", "oldest"])
def test_an_answer_can_be_cut_without_a_word(sim: RunningSimulator, api: str, order: str) -> None:
    account = sim.account("main")
    account.set_answers(unified_order=order)
    whole = _times(sim, api)
    assert len(whole) > 5
    account.set_answers(silent_cap=4)
    assert _times(sim, api) == whole[-4:]
    account.set_answers(silent_cap_keeps="oldest")
    assert _times(sim, api) == whole[:4]


def test_days_can_be_read_before_months(sim: RunningSimulator, asker: Asker) -> None:
    sim.account("main").set_answers(bounds="day_first")
    swapped = asker.calls("2026-03-02", "2026-03-02")
    assert {call["date"][:10] for call in swapped} <= {"2026-02-02", "2026-02-03"}
    assert asker.ask("getCallsInfo", from_="2026-03-13", to="2026-03-14").status_code == 406


@pytest.mark.parametrize(
    ("place", "good", "bad"),
    [("folder", "/api/", "/api/index.php"), ("index_php", "/api/index.php", "/api/")],
)
def test_the_unified_api_is_at_either_address_and_can_refuse_one(
    sim: RunningSimulator, place: str, good: str, bad: str
) -> None:
    def ask(path: str) -> requests.Response:
        url = f"{sim.base_url}{path}?json/v3/{KEY}/call/get/0/{_START}/{_END}"
        return requests.get(url, timeout=10, allow_redirects=False)

    assert ask("/api/").json() == ask("/api/index.php").json()
    assert ask("/api").headers["Location"].startswith("/api/?json/v3/")
    sim.account("main").set_answers(unified_address=place)
    assert ask(good).status_code == 200
    assert ask(bad).status_code == 404
    sim.account("main").set_answers(unified_elsewhere="redirect")
    assert ask(bad).status_code == 301
    assert ask(bad).headers["Location"].startswith("https://moved.invalid/")


def test_all_of_them_are_switches_of_the_command_and_of_the_control() -> None:
    options = ("--account", f"{KEY},name=main,first_day={DAY}", "--now", NOW.isoformat())
    switches = ("--answer", "bounds=ignored", "--answer", "silent_cap=3")
    with run_process(*options, *switches) as (base_url, _):
        window = {"api_key": KEY, "date[from]": str(DAY), "date[to]": str(DAY)}
        answer = requests.get(f"{base_url}/getCallsInfo", params=window, timeout=10)
        assert len(answer.json()["result"]) == 3
        assert {call["date"][:10] for call in answer.json()["result"]} == {str(NOW.date())}
        [reported] = post(
            base_url, "answers", bounds="heeded", bounds_zone="UTC+03:00", silent_cap=None
        )
        assert (reported["bounds_zone"], reported["silent_cap"]) == ("UTC+03:00", None)
        answer = requests.get(f"{base_url}/getCallsInfo", params=window, timeout=10)
        assert len(answer.json()["result"]) > 10
