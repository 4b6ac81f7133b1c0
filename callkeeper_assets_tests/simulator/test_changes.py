"""Calls that change, come, go and settle: what is recorded is exactly what is served afterwards."""

import datetime as dt
from typing import Any

import pytest

from callkeeper_assets.simulator.server import RunningSimulator, run_simulator
from callkeeper_assets.simulator.settings import AccountSettings
from callkeeper_assets.simulator.truth import CHANGED_FIELDS, ChangedField
from callkeeper_assets_tests.simulator.conftest import DAY, KEY, NOW, Asker


def _by_id(asker: Asker, day: dt.date) -> dict[int, dict[str, Any]]:
    calls = asker.calls(f"{day}T00:00:00", f"{day}T23:59:59")
    return {int(call["id"]): call for call in calls}


@pytest.mark.parametrize("column", CHANGED_FIELDS)
def test_a_change_is_recorded_and_served(
    sim: RunningSimulator, asker: Asker, column: ChangedField
) -> None:
    before = _by_id(asker, DAY)
    done = sim.account("main").change(DAY, 3, column=column)
    after = _by_id(asker, DAY)
    changed = {change.call_id for change in done}
    assert len(changed) == 3
    assert {call_id for call_id in before if before[call_id] != after[call_id]} == changed
    for change in done:
        assert change.old != change.new
        assert str(after[change.call_id][str(change.column)]) == str(change.new)


def test_a_longer_duration_brings_its_minutes_along(sim: RunningSimulator) -> None:
    account = sim.account("main")
    call = next(call for call in account.truth(DAY, DAY).calls if call["duration_sec"])
    done = account.change(
        DAY, column="duration_sec", value=3601, call_ids=[int(str(call["call_id"]))]
    )
    assert {(change.column, change.new) for change in done} == {
        ("duration_sec", 3601),
        ("duration_min", 61),
    }


def test_removed_calls_are_gone_and_added_ones_are_there(
    sim: RunningSimulator, asker: Asker
) -> None:
    account = sim.account("main")
    before = set(_by_id(asker, DAY))
    removed = {change.call_id for change in account.remove(DAY, 4)}
    added = {change.call_id for change in account.add(DAY, 5)}
    assert (len(removed), len(added)) == (4, 5)
    assert set(_by_id(asker, DAY)) == (before - removed) | added
    assert [call["call_id"] for call in account.truth(DAY, DAY).calls] == asker.day_ids(DAY)


def test_an_added_call_can_change_and_vanish_too(sim: RunningSimulator, asker: Asker) -> None:
    account = sim.account("main")
    (added,) = account.add(DAY)
    account.change(DAY, column="attempt", value=8, call_ids=[added.call_id])
    assert int(_by_id(asker, DAY)[added.call_id]["attempt"]) == 8
    account.remove(DAY, call_ids=[added.call_id])
    assert added.call_id not in _by_id(asker, DAY)


def test_the_same_seed_changes_the_same_calls_in_the_same_way() -> None:
    runs = []
    for _ in range(2):
        with run_simulator([AccountSettings(key=KEY, name="main")], now=NOW) as sim:
            account = sim.account("main")
            runs.append((account.change(DAY, 5), account.add(DAY, 2), account.remove(DAY, 2)))
    assert runs[0] == runs[1]


def test_held_calls_are_not_final_until_they_are_finalised(
    sim: RunningSimulator, asker: Asker
) -> None:
    account = sim.account("main")
    before = _by_id(asker, DAY)
    held = {change.call_id for change in account.hold(DAY, 2, code=707)}
    during = _by_id(asker, DAY)
    for call_id in held:
        call = during[call_id]
        assert (int(call["status_code"]), int(call["status2_code"])) == (707, 0)
        assert int(call["duration_sec"]) == 0
        assert call["record_url"] == ""
    settled = account.finalise()
    assert held <= {change.call_id for change in settled}
    assert _by_id(asker, DAY) == before


def test_calls_near_now_settle_as_the_clock_goes_on() -> None:
    settings = AccountSettings(key=KEY, name="main", calls_per_day=600, rhythm="flat")
    with run_simulator([settings], now=NOW) as sim:
        account = sim.account("main")

        def open_calls() -> set[object]:
            first, last = NOW.date() - dt.timedelta(days=4), NOW.date()
            calls = account.truth(first, last).calls
            return {call["call_id"] for call in calls if not call["is_final"]}

        asker = Asker(sim)
        at_noon = open_calls()
        shown = asker.calls("2026-03-27", "2026-04-01")
        assert {
            int(call["id"]) for call in shown if int(call["status_code"]) in (1, 2, 707)
        } == at_noon
        assert at_noon
        sim.clock.set(NOW + dt.timedelta(days=3))
        assert not open_calls() & at_noon
        shown = asker.calls("2026-03-27", "2026-04-01")
        assert not [call for call in shown if int(call["status_code"]) in (1, 2, 707)]
        sim.clock.set(NOW)
        assert open_calls() == at_noon
        account.finalise()
        assert not open_calls()


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ("remove", "1000 final calls of 2026-03-02 were asked for; there are "),
        ("change", "1000 final calls of 2026-03-02 were asked for; there are "),
    ],
)
def test_more_calls_than_the_day_has_are_refused(
    sim: RunningSimulator, action: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        getattr(sim.account("main"), action)(DAY, 1000)


def test_a_call_cannot_be_added_to_the_future(sim: RunningSimulator) -> None:
    with pytest.raises(ValueError, match="no call can be added to 2026-05-01"):
        sim.account("main").add(dt.date(2026, 5, 1))


def test_a_code_that_is_final_cannot_be_held(sim: RunningSimulator) -> None:
    with pytest.raises(ValueError, match=r"status code 200 is final; not final are \[1, 2, 707\]"):
        sim.account("main").hold(DAY, code=200)
