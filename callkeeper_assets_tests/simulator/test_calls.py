"""Generated calls: deterministic, realistic, with every oddity of the API's spelling."""

import csv
import datetime as dt
import json
from collections import Counter
from importlib import resources
from typing import Any

import pytest
import requests

from callkeeper_assets.simulator.account import SimulatedAccount
from callkeeper_assets.simulator.server import run_simulator
from callkeeper_assets.simulator.settings import AccountSettings
from callkeeper_assets_tests.simulator.conftest import KEY, NOW

_FIELDS = {
    *("id", "visit_info", "status_code", "status_reason", "status2_code", "status2_reason", "ip"),
    *("country", "city", "region", "district", "site", "ya_clientid", "roistat_visit", "phone1"),
    *("phone2", "widget_hash", "widget_name", "date", "date_timestamp", "order_date", "attempt"),
    *("duration_sec", "duration_min", "duration2_sec", "duration2_min", "record_url", "a_type"),
    *("playback_tick", "asr_attempts", "tags", "event_source", "ga_clientid", "ga_clid"),
}
_SETTINGS = AccountSettings(key=KEY, calls_per_day=1000, seed=11)


def _fetch(settings: AccountSettings) -> tuple[bytes, list[dict[str, Any]]]:
    with run_simulator([settings], now=NOW) as sim:
        answer = requests.get(
            f"{sim.base_url}/getCallsInfo?api_key={settings.key}&time_zone=Europe/Moscow"
            "&date[from]=2026-03-01&date[to]=2026-03-14",
            timeout=60,
        )
    return answer.content, answer.json()["result"]


@pytest.fixture(scope="module")
def fortnight() -> tuple[bytes, list[dict[str, Any]]]:
    """Two weeks of 1,000 calls a day."""
    return _fetch(_SETTINGS)


def test_the_same_seed_gives_the_same_bytes_and_another_one_does_not() -> None:
    small = AccountSettings(key=KEY, calls_per_day=20, seed=3)
    assert _fetch(small)[0] == _fetch(small)[0]
    assert _fetch(small)[0] != _fetch(AccountSettings(key=KEY, calls_per_day=20, seed=4))[0]


def test_ids_are_unique_ascend_with_time_and_fit_a_javascript_number(
    fortnight: tuple[bytes, list[dict[str, Any]]],
) -> None:
    ids = [int(call["id"]) for call in fortnight[1]]
    assert ids == sorted(set(ids))
    assert 2**31 < ids[0] < ids[-1] < 2**53


def test_every_documented_field_comes_and_no_other(
    fortnight: tuple[bytes, list[dict[str, Any]]],
) -> None:
    assert {name for call in fortnight[1] for name in call} == _FIELDS


def test_every_status_of_the_vendors_list_is_dealt() -> None:
    account = SimulatedAccount(_SETTINGS)
    dealt = {
        (call["status_code"], call["status2_code"])
        for call in account.truth(dt.date(2025, 1, 1), dt.date(2025, 2, 15)).calls
    }
    text = (
        resources.files("callkeeper_assets.simulator").joinpath("statuses.csv").read_text("utf-8")
    )
    listed = {
        (int(row["status_code"]), int(row["status2_code"]))
        for row in csv.DictReader(text.splitlines())
    }
    assert listed - dealt == {(1, 0), (2, 0), (707, 0)}, "these are for calls that are not final"
    assert dealt < listed


def test_numbers_are_ones_that_nobody_has(fortnight: tuple[bytes, list[dict[str, Any]]]) -> None:
    """Pictures and examples show them: behind a Russian area's code no number begins with 0."""
    numbers = {
        call[name].partition("^")[0] for call in fortnight[1] for name in ("phone1", "phone2")
    }
    assert len(numbers) > 10_000
    assert {number[:2] for number in numbers} == {"+7"}
    assert all(number[2] in "34" and number[5] == "0" and len(number) == 12 for number in numbers)


def test_durations_suit_the_status(fortnight: tuple[bytes, list[dict[str, Any]]]) -> None:
    for call in fortnight[1]:
        is_success = int(call["status_code"]) == int(call["status2_code"]) == 200
        seconds, talk = int(call["duration_sec"]), int(call["duration2_sec"])
        assert (talk > 0) == is_success == bool(call["record_url"])
        assert seconds > talk or seconds == talk == 0 or not is_success
        assert int(call["duration_min"]) == -(-seconds // 60)
        assert int(call["duration2_min"]) == -(-talk // 60)


def test_values_are_spelt_in_every_way_the_api_spells_them(
    fortnight: tuple[bytes, list[dict[str, Any]]],
) -> None:
    calls = fortnight[1]
    for name in ("id", "attempt", "duration2_sec", "date_timestamp", "asr_attempts"):
        assert {type(call[name]) for call in calls if call.get(name)} == {int, str}, name
    for name in ("city", "ip", "ya_clientid", "asr_attempts", "visit_info"):
        spelt = {repr(call.get(name, "absent")) for call in calls}
        assert {"None", "''", "' '", "'absent'"} <= spelt, name
    tags = Counter(call["tags"] for call in calls)
    assert tags.most_common(1)[0][0] == " "
    assert any("целевой" in tag for tag in tags)
    assert {"^" in call["phone1"] for call in calls} == {True, False}
    assert any('"' in call["widget_name"] for call in calls)


def test_calls_follow_the_day_and_the_week(
    fortnight: tuple[bytes, list[dict[str, Any]]],
) -> None:
    moments = [
        dt.datetime.fromtimestamp(int(call["date_timestamp"]), dt.timezone(dt.timedelta(hours=3)))
        for call in fortnight[1]
    ]
    hours = Counter(moment.hour for moment in moments)
    assert hours[11] > 10 * hours[4]
    weekdays = Counter(moment.isoweekday() for moment in moments)
    assert weekdays[1] > 1.5 * weekdays[7]


def test_a_flat_account_has_exactly_as_many_calls_every_day() -> None:
    flat = SimulatedAccount(AccountSettings(key=KEY, calls_per_day=37, rhythm="flat"))
    first = dt.date(2025, 3, 25)
    days = [first + dt.timedelta(days=n) for n in range(10)]
    assert [flat.truth(day, day).count for day in days] == [37] * 10


def test_a_call_has_the_size_of_a_real_one(
    fortnight: tuple[bytes, list[dict[str, Any]]],
) -> None:
    assert 1200 < len(fortnight[0]) / len(fortnight[1]) < 1600


def test_clients_come_from_many_places_and_campaigns(
    fortnight: tuple[bytes, list[dict[str, Any]]],
) -> None:
    calls = fortnight[1]
    assert len({call.get("city") for call in calls}) > 30
    visits = [call["visit_info"] for call in calls if isinstance(call.get("visit_info"), dict)]
    assert {visit["current"]["typ"] for visit in visits} == {"utm", "organic", "referral", "typein"}
    assert len({json.dumps(visit["current"]) for visit in visits}) > 50
    assert {call["event_source"] for call in calls} >= {"widget", "mobile", "form", "api", "hand"}
