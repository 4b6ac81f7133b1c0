"""The simulated unified API is the documented one: fields, shapes, errors, pages, webhooks told.

The samples are the documentation's own.
"""

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from callkeeper_assets.simulator.scenery import DISTRICT_HOURS
from callkeeper_assets.simulator.server import RunningSimulator
from callkeeper_assets.webhooks.raw_call import HOOK_EVENTS
from callkeeper_assets_tests.simulator.conftest import DAY, KEY, OLD_KEY
from callkeeper_assets_tests.simulator.receiver import Receiver, Reply

_SAMPLES = Path(__file__).parent / "samples"
_MOSCOW = dt.timezone(dt.timedelta(hours=3))
START = int(dt.datetime(DAY.year, DAY.month, DAY.day, tzinfo=_MOSCOW).timestamp())
END = START + 86_399

Ask = Callable[..., Any]


@pytest.fixture
def ask(sim: RunningSimulator) -> Ask:
    """Asks for a page of the day, or for whatever else is said."""

    def get(
        page: object = 0,
        start: object = START,
        end: object = END,
        *,
        key: str = KEY,
        path: str = "json/v3/{key}/call/get",
    ) -> Any:  # noqa: ANN401 - JSON
        query = f"{path.format(key=key)}/{page}/{start}/{end}"
        answer = requests.get(f"{sim.base_urls['ckct']}?{query}", timeout=10)
        assert answer.status_code == 200, "its failures come with 200, too"
        return answer.json()

    return get


def error_of(answer: dict[str, Any]) -> str:
    """What a failure says; its shape is the documentation's."""
    sample = json.loads((_SAMPLES / "unified_error.json").read_text("utf-8"))
    assert answer.keys() == sample.keys()
    assert answer["payload"] == sample["payload"] == []
    assert answer["info"].keys() == sample["info"].keys()
    return str(answer["inbound"]["error"])


def test_a_call_has_the_fields_of_the_documentation_and_none_of_them_is_null(
    sim: RunningSimulator, ask: Ask
) -> None:
    [sample] = json.loads((_SAMPLES / "unified_call.json").read_text("utf-8"))
    calls = ask()
    assert len(calls) == sim.account("main").truth(DAY, DAY).count > 40
    for call in calls:
        # Both names of one field have been seen; `hooks` came after the sample.
        named = {"visitSite" if name == "siteVisit" else name for name in call}
        assert named == {*sample, "hooks"}
        assert None not in call.values()
        for name, value in sample.items():
            if name in call and name != "cbSmatrisSession":
                assert type(call[name]) is type(value), name


def test_the_calls_are_the_account_s_own(sim: RunningSimulator, ask: Ask) -> None:
    truth = {one["call_id"]: one for one in sim.account("main").truth(DAY, DAY).calls}
    served = {call["cbCallId"]: call for call in ask()}
    assert served.keys() == truth.keys()
    for call_id, call in served.items():
        reported = truth[call_id]
        called_at = dt.datetime.fromisoformat(call["callTime"]).replace(tzinfo=dt.UTC)
        local = dt.datetime.fromisoformat(call["localDate"])
        assert called_at == reported["called_at"]
        # The client's clock, which is the account's where the place tells no other.
        hours = DISTRICT_HOURS.get(str(reported["district"]), 3)
        assert local - called_at.replace(tzinfo=None) == dt.timedelta(hours=hours)
        assert call["timezoneOffset"] == f"+{hours:02d}00"
        assert (call["statusFirst"], call["statusSecond"]) == (
            reported["status_code"],
            reported["status2_code"],
        )
        assert (call["status"] == "success") == (reported["status"] == "success")
        assert (call["duration"], call["tariffTime"]) == (
            reported["duration2_sec"],
            reported["duration2_min"],
        )
        assert call["target"] == (int(str(reported["duration2_sec"])) > 120)
        assert len(call["cbAttemptsQueue"]) == int(str(reported["attempt"])) - 1
        assert call_id not in call["cbAttemptsQueue"]
        assert call["cbOfficeNumber"] in {"0", "1", "2"}
        assert call["callerIdToManager"] == call["clientNumber"]
        assert call["counts"] == (reported["visit"] or 0)
        assert call["cbSmartCallCount"] == (reported["asr_attempts"] or 0)
        assert call["cbIvrCount"] == (reported["playback_tick"] or 0)
        assert ", ".join(call["tags"]) == (reported["tags"] or "")
        assert "+" + call["clientNumber"] == reported["client_phone"]


def test_pages_count_from_0_and_end_in_a_failure_that_is_none(
    sim: RunningSimulator, ask: Ask
) -> None:
    whole = [call["cbCallId"] for call in ask()]
    sim.account("main").set_answers(unified_page_length=20)
    pages: list[list[int]] = []
    while isinstance(page := ask(len(pages)), list):
        assert {call["page"] for call in page} == {len(pages)}
        pages.append([call["cbCallId"] for call in page])
    assert error_of(page) == "Incorrect page is set"
    assert [call_id for one in pages for call_id in one] == whole
    assert {len(one) for one in pages[:-1]} == {20}
    assert error_of(ask(0, START - 10**9, START - 10**9 + 60)) == "No rows found"
    assert error_of(ask("first")) == "Incorrect page is set"


def test_the_older_shape_tells_the_total(sim: RunningSimulator, ask: Ask) -> None:
    whole = ask()
    sim.account("main").set_answers(unified_shape="wrapped", unified_page_length=20)
    answer = ask(1)
    assert answer["payload"] == [{**call, "page": 1} for call in whole[20:40]]
    assert answer["info"] == {
        "pageLength": 20,
        "totalLength": len(whole),
        "ofPages": -(-len(whole) // 20),
    }


def test_days_and_seconds_ask_for_the_same(ask: Ask) -> None:
    assert ask(0, DAY, DAY) == ask()


def test_the_first_page_has_the_newest_calls_or_the_oldest(sim: RunningSimulator, ask: Ask) -> None:
    newest = [call["callTime"] for call in ask()]
    assert newest == sorted(newest, reverse=True)
    sim.account("main").set_answers(unified_order="oldest")
    assert [call["callTime"] for call in ask()] == newest[::-1]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"key": "ffffffffffffffff"}, "User is not recognized"),
        ({"path": "json/v2/{key}/call/get"}, "It is wrong API version"),
        ({"path": "xml/v3/{key}/call/get"}, "It is wrong API version"),
        ({"path": "json/v3/{key}/user/get"}, "Entity does not exist"),
        ({"path": "json/v3/{key}/call/list"}, "Method does not exist"),
        ({"start": "yesterday"}, "Start date has wrong type. Use format YYYY-MM-DD or timestamp"),
        ({"end": "2026-02-30"}, "End date has wrong type. Use format YYYY-MM-DD or timestamp"),
    ],
)
def test_failures_are_the_documented_ones(ask: Ask, given: dict[str, str], reason: str) -> None:
    assert error_of(ask(**given)) == reason


@pytest.mark.parametrize("method", ["get", "getByRole", "getWithRole"])
def test_each_method_is_counted(sim: RunningSimulator, ask: Ask, method: str) -> None:
    assert ask(path=f"json/v3/{{key}}/call/{method}")
    assert sim.account("main").requests[f"call/{method}"] == 1


def test_an_account_of_one_api_is_unknown_to_the_other(sim: RunningSimulator, ask: Ask) -> None:
    """As CallKeeper has them; in tests that compare the two an account is known to both."""
    assert isinstance(ask(key=OLD_KEY, start="2026-03-02", end="2026-03-02"), list)
    account = sim.account("old")
    object.__setattr__(account.settings, "only_api", "callkeeper")
    assert error_of(ask(key=OLD_KEY)) == "User is not recognized"


def test_hooks_tell_each_webhook_with_the_answer_that_was_seen(
    sim: RunningSimulator, ask: Ask, receiver: Receiver
) -> None:
    assert all(call["hooks"] == [] for call in ask())
    account = sim.account("main")
    account.set_webhooks(url=receiver.url, loss=0.3, duplicate=0.2)
    receiver.replies.extend(Reply(status=status) for status in (200, 503, 404) * 30)
    sent = account.send_webhooks(DAY)
    reported = {call["cbCallId"]: call["hooks"] for call in ask()}
    listed = [hook for hooks in reported.values() for hook in hooks]
    assert len(listed) == len(sent)
    assert {hook["hookAddress"] for hook in listed} == {receiver.url}
    for call_id, hooks in reported.items():
        expected = [
            (HOOK_EVENTS[one.event], one.method, 200 if one.outcome == "lost" else one.status)
            for one in sent
            if one.call_id == call_id
        ]
        assert sorted(
            (hook["hookEventName"], hook["hookMethod"], hook["hookResponseStatus"])
            for hook in hooks
        ) == sorted(expected, key=str)
    assert {hook["hookResponseStatus"] for hook in listed} >= {200, 404, 503}
    assert {hook["hookEventName"] for hook in listed} == {"BEFORE_CALL_START", "AFTER_CALL_FINISH"}
    account.set_answers(unified_hooks=False)
    assert all("hooks" not in call for call in ask())
