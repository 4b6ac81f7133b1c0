"""What a webhook says: read at the receiver, compared with what the API serves of the same call."""

import datetime as dt
import json
from collections.abc import Iterator
from typing import Any

import pytest

from callkeeper_assets.simulator.account import SimulatedAccount
from callkeeper_assets.simulator.server import RunningSimulator
from callkeeper_assets.simulator.webhook_settings import EVENTS, FIELD_PATHS
from callkeeper_assets_tests.simulator.conftest import DAY, Asker
from callkeeper_assets_tests.simulator.receiver import Receiver

_STARTED, _OVER = EVENTS
_UNKNOWN = {"duration_sec", "duration_min", "duration2_min"}
_DIFFERENT = {*_UNKNOWN, "duration2_sec", "status_code", "status_reason", "status2_code"} | {
    *("status2_reason", "record_url", "a_type", "hook_event", "uip")
}


@pytest.fixture
def account(sim: RunningSimulator, receiver: Receiver) -> SimulatedAccount:
    """The main account, with webhooks that go to the receiver."""
    account = sim.account("main")
    account.set_webhooks(url=receiver.url)
    return account


def _send(account: SimulatedAccount, receiver: Receiver, **switches: Any) -> list[dict[str, Any]]:  # noqa: ANN401
    """A day's webhooks as JSON, sent with other switches; in the order of sending."""
    account.set_webhooks(connections=1, **switches)
    before = len(receiver.received)
    account.send_webhooks(DAY)
    return [each.json for each in receiver.received[before:]]


def _bodies_of(bodies: list[dict[str, Any]], event: str) -> dict[int, dict[str, Any]]:
    return {int(body["id"]): body for body in bodies if body["hook_event"] == event}


def _served(asker: Asker) -> dict[int, dict[str, Any]]:
    return {int(call["id"]): call for call in asker.calls(f"{DAY}", f"{DAY}T23:59:59")}


def test_the_end_of_a_call_is_reported_as_the_api_tells_it_but_for_its_talk(
    account: SimulatedAccount, receiver: Receiver, asker: Asker
) -> None:
    over = _bodies_of(_send(account, receiver), _OVER)
    served = _served(asker)
    assert len(over) == len(served) > 40
    for call_id, call in served.items():
        reported = dict(over[call_id])
        assert reported.pop("hook_event") == _OVER
        assert reported.pop("uip", "absent") == call.get("ip", "absent")
        talk = call.pop("duration2_sec")
        assert reported == call, talk


def test_at_its_start_a_call_goes_on_and_has_no_durations_yet(
    account: SimulatedAccount, receiver: Receiver, asker: Asker
) -> None:
    started = _bodies_of(_send(account, receiver), _STARTED)
    served = _served(asker)
    assert set(started) == set(served)
    spelt = set()
    for call_id, reported in started.items():
        assert (int(reported["status_code"]), int(reported["status2_code"])) == (1, 0)
        assert reported["record_url"] == ""
        assert "duration2_sec" not in reported
        for name in _UNKNOWN:
            spelt.add(repr(reported.get(name, "absent")))
        kept = {name: value for name, value in reported.items() if name not in _DIFFERENT}
        call = served[call_id]
        assert kept == {name: value for name, value in call.items() if name not in _DIFFERENT}
    assert spelt == {"None", "''", "' '", "'absent'"}


def test_numbers_and_missing_values_are_spelt_in_every_way(
    account: SimulatedAccount, receiver: Receiver
) -> None:
    bodies = _send(account, receiver)
    assert {type(body["id"]) for body in bodies} == {int, str}
    assert {type(body["attempt"]) for body in bodies} == {int, str}
    for name in ("asr_attempts", "ya_clientid"):
        spelt = {repr(body.get(name, "absent")) for body in bodies}
        assert {"None", "''", "' '", "'absent'"} <= spelt, name


def test_the_date_is_utc_and_goes_with_its_timestamp(
    account: SimulatedAccount, receiver: Receiver
) -> None:
    for body in _send(account, receiver):
        date = dt.datetime.strptime(body["date"], "%Y-%m-%d %H:%M:%S").replace(tzinfo=dt.UTC)
        assert date.timestamp() == int(body["date_timestamp"])


def _visited(bodies: list[dict[str, Any]], key: str) -> Iterator[dict[str, Any]]:
    return (body for body in bodies if isinstance(body.get(key), dict))


def test_a_visit_lies_inside_beside_or_flat_with_the_same_values(
    account: SimulatedAccount, receiver: Receiver
) -> None:
    inside = next(_visited(_send(account, receiver), "visit_info"))
    beside = next(_visited(_send(account, receiver, layout="beside"), "visit_info"))
    flat = next(_visited(_send(account, receiver, layout="flat"), "current"))
    visit = inside["visit_info"]
    assert {"session", "udata"} < set(visit)
    assert set(beside["visit_info"]) == {"current", "current_add", "first", "first_add"}
    assert {**beside["visit_info"], "session": beside["session"], "udata": beside["udata"]} == visit
    assert not {"visit_info", "session", "udata"} & set(flat)
    assert {name: flat[name] for name in beside["visit_info"]} == beside["visit_info"]
    assert (flat["pgs"], flat["cpg"]) == (visit["session"]["pgs"], visit["session"]["cpg"])
    assert (flat["vst"], flat["uag"]) == (visit["udata"]["vst"], visit["udata"]["uag"])
    assert flat["uip"] == visit["udata"]["uip"] == inside["uip"]


def test_marks_have_the_names_of_the_answers_and_unknown_fields_come_along(
    account: SimulatedAccount, receiver: Receiver
) -> None:
    account.set_answers(mark_keys="utm", unknown_fields=True)
    body = next(_visited(_send(account, receiver), "visit_info"))
    assert "utm_source" in body["visit_info"]["first"]
    assert body["ai_summary"]["text"] == "новое поле"


@pytest.mark.parametrize(
    ("nested_as", "name"),
    [("brackets", "visit_info[session][pgs]"), ("dots", "visit_info.session.pgs")],
)
@pytest.mark.parametrize("switches", [{"method": "GET"}, {"content": "form"}])
def test_a_query_and_a_form_have_the_values_of_the_json(
    account: SimulatedAccount,
    receiver: Receiver,
    switches: dict[str, str],
    nested_as: str,
    name: str,
) -> None:
    reported = _send(account, receiver)
    receiver.received.clear()
    account.set_webhooks(**switches, nested_as=nested_as)
    account.send_webhooks(DAY)
    pairs = [each.pairs for each in receiver.received]
    by_id = {(each["id"], each["hook_event"]): each for each in pairs}
    assert len(by_id) == len(pairs) == len(reported)
    visits = 0
    for body in reported:
        pair = by_id[str(body["id"]), body["hook_event"]]
        plain = {key: value for key, value in body.items() if not isinstance(value, dict)}
        assert {key: pair.get(key) for key in plain} == {
            key: None if value is None else str(value) for key, value in plain.items()
        }
        if isinstance(body.get("visit_info"), dict):
            visits += 1
            assert pair[name] == str(body["visit_info"]["session"]["pgs"])
    assert visits
    expected = (
        ("GET", "") if "method" in switches else ("POST", "application/x-www-form-urlencoded")
    )
    assert {(each.verb, each.content_type) for each in receiver.received} == {expected}


def test_a_form_can_hold_nested_values_as_json(
    account: SimulatedAccount, receiver: Receiver
) -> None:
    reported = {
        (str(each["id"]), each["hook_event"]): each
        for each in _visited(_send(account, receiver), "visit_info")
    }
    receiver.received.clear()
    account.set_webhooks(content="form", nested_as="json")
    account.send_webhooks(DAY)
    pairs = {(each.pairs["id"], each.pairs["hook_event"]): each.pairs for each in receiver.received}
    for key, body in reported.items():
        assert json.loads(pairs[key]["visit_info"]) == body["visit_info"]


@pytest.mark.parametrize("mark_keys", ["sourcebuster", "utm"])
@pytest.mark.parametrize("layout", ["inside", "beside", "flat"])
def test_an_owner_renames_columns_at_will(
    account: SimulatedAccount, receiver: Receiver, layout: str, mark_keys: str
) -> None:
    account.set_answers(mark_keys=mark_keys)
    (call,) = account.truth(DAY, DAY).calls[:1]
    columns = [name for name in call if name in FIELD_PATHS]
    bodies = _send(account, receiver, names={name: f"my_{name}" for name in columns}, layout=layout)
    assert len(columns) > 40
    assert {f"my_{name}" for name in columns} < {name for body in bodies for name in body}
    truth = {call["call_id"]: call for call in account.truth(DAY, DAY).calls}
    visits = 0
    for body in bodies:
        call = truth[int(body["my_call_id"])]
        assert body["my_client_phone"] == call["client_phone"]
        assert body["my_event_source"] == call["event_source"]
        if "my_pages" in body:
            visits += 1
            assert int(body["my_pages"]) == call["pages"]
            for name in ("utm_source", "first_utm_term", "entry_point", "referrer", "page"):
                assert body[f"my_{name}"] == call[name]
        assert not {"id", "phone1", "phone2", "date", "pgs", "cpg", "vst", "uag"} & set(body)
    assert visits


def test_the_apis_own_names_can_be_renamed_as_well(
    account: SimulatedAccount, receiver: Receiver
) -> None:
    plain = next(_visited(_send(account, receiver), "visit_info"))
    names = {"id": "n", "pgs": "p", "current_source": "s", "first_started": "t", "event": "e"}
    body = next(each for each in _send(account, receiver, names=names) if each["n"] == plain["id"])
    visit = plain["visit_info"]
    assert (body["p"], body["s"], body["t"], body["e"]) == (
        visit["session"]["pgs"],
        visit["current"]["src"],
        visit["first_add"]["fd"],
        plain["hook_event"],
    )
    assert "hook_event" not in body
    assert "pgs" not in body["visit_info"]["session"]


def test_a_name_can_be_that_of_another_field(account: SimulatedAccount, receiver: Receiver) -> None:
    plain = _send(account, receiver)[0]
    swapped = _send(account, receiver, names={"client_phone": "phone1", "manager_phone": "phone2"})
    body = next(body for body in swapped if body["id"] == plain["id"])
    assert (body["phone1"], body["phone2"]) == (plain["phone2"], plain["phone1"])
