"""The simulator's truth equals what it serves, read independently here from the raw answers."""

import datetime as dt
from typing import Any

import pytest

from callkeeper_assets.simulator.server import RunningSimulator
from callkeeper_assets_tests.simulator.conftest import OLD_KEY, Asker

_FROM, _TO = dt.date(2026, 3, 1), dt.date(2026, 3, 20)
_NUMBERS = ("duration_sec", "duration2_sec", "duration_min", "duration2_min", "attempt")
_OPTIONAL_NUMBERS = ("asr_attempts", "playback_tick")
_TEXTS = (
    *("status_reason", "status2_reason", "ip", "country", "city", "region", "district", "site"),
    *("ya_clientid", "roistat_visit", "widget_hash", "widget_name", "record_url", "tags"),
)


def _text(call: dict[str, Any], name: str) -> str | None:
    value = call.get(name)
    return None if value is None or not str(value).strip() else str(value)


def _number(call: dict[str, Any], name: str) -> int | None:
    text = _text(call, name)
    return None if text is None else int(text)


def _read(call: dict[str, Any]) -> dict[str, Any]:
    visit = call.get("visit_info") if isinstance(call.get("visit_info"), dict) else None
    current = visit["current"] if visit else {}
    phone, _, extension = call["phone1"].partition("^")
    return {
        "call_id": int(call["id"]),
        "called_at": dt.datetime.strptime(call["date"], "%Y-%m-%d %H:%M:%S").replace(tzinfo=dt.UTC),
        "status_code": int(call["status_code"]),
        "status2_code": int(call["status2_code"]),
        "manager_phone": phone,
        "manager_extension": extension or None,
        "client_phone": call["phone2"],
        "ga_clientid": _text(call, "ga_clientid") or _text(call, "ga_clid"),
        "pages": int(visit["session"]["pgs"]) if visit else None,
        "visit": int(visit["udata"]["vst"]) if visit else None,
        "page": visit["session"]["cpg"] if visit else None,
        "utm_source": current.get("src"),
        "utm_term": current.get("trm"),
        "entry_point": visit["current_add"]["ep"] if visit else None,
        **{name: _number(call, name) for name in (*_NUMBERS, *_OPTIONAL_NUMBERS)},
        **{name: _text(call, name) for name in _TEXTS},
    }


@pytest.mark.parametrize("time_zone", ["Europe/Moscow", "America/New_York", "Asia/Tokyo"])
def test_the_truth_of_local_days_is_what_the_api_serves(
    sim: RunningSimulator, asker: Asker, time_zone: str
) -> None:
    account = sim.account("main")
    account.change(dt.date(2026, 3, 5), 5)
    account.remove(dt.date(2026, 3, 6), 2)
    account.add(dt.date(2026, 3, 7), 2)
    served = [_read(call) for call in asker.calls(f"{_FROM}", f"{_TO}T23:59:59", time_zone)]
    truth = account.truth(_FROM, _TO, time_zone)
    assert [{name: call[name] for name in served[0]} for call in truth.calls] == served
    assert truth.count == len(served) > 1000
    for name in (*_NUMBERS, *_OPTIONAL_NUMBERS, "pages", "visit", "call_id"):
        assert truth.sums[name] == sum(call[name] or 0 for call in served)


def test_totals_alone_are_the_same_totals(sim: RunningSimulator) -> None:
    account = sim.account("main")
    whole = account.truth(_FROM, _TO)
    totals = account.truth(_FROM, _TO, has_calls=False)
    assert (totals.count, totals.sums, totals.calls) == (whole.count, whole.sums, [])


def test_the_words_for_statuses_follow_the_codes(sim: RunningSimulator) -> None:
    account = sim.account("main")
    for code in (1, 2, 707):
        account.hold(dt.date(2026, 3, 4), code=code)
    calls = account.truth(dt.date(2026, 3, 4), dt.date(2026, 3, 4)).calls
    words = {(call["status_code"], call["status"], call["is_final"]) for call in calls}
    assert {(1, "in_progress", False), (2, "planned", False), (707, "pending", False)} < words
    assert (200, "success", True) in words
    for call in calls:
        is_success = (call["status_code"], call["status2_code"]) == (200, 200)
        assert (call["status"] == "success") == is_success


def test_days_are_in_the_accounts_own_zone_unless_another_is_named(
    sim: RunningSimulator,
) -> None:
    day = dt.date(2026, 3, 5)
    ids = Asker(sim, OLD_KEY).day_ids(day, "Asia/Vladivostok")
    assert [call["call_id"] for call in sim.account("old").truth(day, day).calls] == ids
