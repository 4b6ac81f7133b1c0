"""Webhooks by the clock: each when its call starts or settles, none twice, none before its time."""

import datetime as dt
import time
import zoneinfo
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from callkeeper_assets.simulator.account import SimulatedAccount
from callkeeper_assets.simulator.server import RunningSimulator, run_simulator
from callkeeper_assets.simulator.settings import AccountSettings
from callkeeper_assets.simulator.webhook_settings import EVENTS
from callkeeper_assets_tests.simulator.conftest import KEY, NOW
from callkeeper_assets_tests.simulator.receiver import Received, Receiver

_STARTED, _OVER = EVENTS
_TODAY = NOW.date()

Fact = tuple[int, str]


@pytest.fixture
def busy(receiver: Receiver) -> Iterator[RunningSimulator]:
    """An account of 1,000 calls a day whose webhooks are live; the clock stands at `NOW`."""
    account = AccountSettings(key=KEY, name="main", calls_per_day=1000, rhythm="flat")
    with run_simulator([account], now=NOW) as sim:
        sim.account("main").set_webhooks(url=receiver.url, live=True)
        yield sim


def _wait(is_done: Callable[[], object]) -> None:
    until = time.monotonic() + 60
    while not is_done():
        assert time.monotonic() < until, "it has not come for 60 s"
        time.sleep(0.05)


def _reported(receiver: Receiver) -> Counter[Fact]:
    return Counter((int(each.json["id"]), each.json["hook_event"]) for each in receiver.received)


def _due(account: SimulatedAccount, start: dt.datetime, end: dt.datetime) -> Counter[Fact]:
    """What starts and settles after one moment and up to another, by the calls themselves."""
    low, high = int(start.timestamp()), int(end.timestamp())
    calls = account.list_calls(low - 3 * 86400, high + 1)
    return Counter(
        (call.call_id, event)
        for call in calls
        for event, ts in ((_STARTED, call.called_ts), (_OVER, call.settles_ts))
        if low < ts <= high
    )


def test_as_the_clock_goes_on_each_start_and_end_is_reported_once(
    busy: RunningSimulator, receiver: Receiver
) -> None:
    account = busy.account("main")
    now = NOW
    for minutes in (7, 1, 90, 600):
        now += dt.timedelta(minutes=minutes)
        busy.clock.set(now)
        due = _due(account, NOW, now)
        _wait(lambda due=due: len(receiver.received) >= due.total())  # type: ignore[misc]
        assert _reported(receiver) == due
    assert len(due) > 200
    assert {event for _, event in due} == {_STARTED, _OVER}
    time.sleep(0.5)
    assert _reported(receiver) == due, "a clock that stands sends nothing"


def test_an_end_is_reported_as_it_has_become_and_a_start_as_it_was(
    busy: RunningSimulator, receiver: Receiver
) -> None:
    busy.clock.set(NOW + dt.timedelta(hours=1))
    due = _due(busy.account("main"), NOW, NOW + dt.timedelta(hours=1))
    _wait(lambda: len(receiver.received) >= due.total())
    truth = {call["call_id"]: call for call in busy.account("main").truth(_TODAY, _TODAY).calls}
    for each in receiver.received:
        body = each.json
        call = truth.get(int(body["id"]))
        if body["hook_event"] == _OVER and call is not None:
            assert int(body["status_code"]) == call["status_code"]
            assert int(body["duration_sec"]) == call["duration_sec"]
        elif body["hook_event"] == _STARTED:
            assert int(body["status_code"]) == 1


def test_a_call_brought_to_its_end_at_once_has_it_sent_under_a_standing_clock(
    busy: RunningSimulator, receiver: Receiver
) -> None:
    account = busy.account("main")
    busy.clock.set(NOW + dt.timedelta(hours=2))
    due = _due(account, NOW, NOW + dt.timedelta(hours=2))
    _wait(lambda: len(receiver.received) >= due.total())
    going_on = {call_id for call_id, event in due if event == _STARTED} - {
        call_id for call_id, event in due if event == _OVER
    }
    assert going_on
    account.finalise()
    _wait(lambda: len(receiver.received) >= due.total() + len(going_on))
    assert _reported(receiver) == due + Counter((call_id, _OVER) for call_id in going_on)


def test_late_additions_and_changes_of_old_calls_tell_nothing(
    busy: RunningSimulator, receiver: Receiver
) -> None:
    account = busy.account("main")
    busy.clock.set(NOW + dt.timedelta(minutes=30))
    due = _due(account, NOW, NOW + dt.timedelta(minutes=30))
    _wait(lambda: len(receiver.received) >= due.total())
    yesterday = _TODAY - dt.timedelta(days=1)
    account.add(_TODAY, 20)
    account.change(yesterday, 5)
    account.hold(yesterday, 5)
    account.remove(yesterday, 5)
    time.sleep(0.7)
    assert _reported(receiver) == due


def test_live_webhooks_are_lost_doubled_and_turned_round_too(
    busy: RunningSimulator, receiver: Receiver
) -> None:
    account = busy.account("main")
    account.set_webhooks(loss=0.2, duplicate=0.3, wrong_order=0.4)
    end = NOW + dt.timedelta(hours=3)
    busy.clock.set(end)
    # Duplicates and withheld beginnings of the last calls are due later still.
    most = _due(account, NOW, end).total()
    _wait(lambda: len(account.list_deliveries()) > most)
    account.set_webhooks(live=False)
    record = account.list_deliveries()
    assert _reported(receiver) == Counter(
        (each.call_id, each.event) for each in record if each.outcome == "answered"
    )
    assert {each.outcome for each in record} == {"answered", "lost"}
    assert {each.is_duplicate for each in record} == {True, False}
    first: dict[int, str] = {}
    for each in receiver.received:
        first.setdefault(int(each.json["id"]), each.json["hook_event"])
    whole = {call_id for call_id, event in _reported(receiver) if event == _STARTED} & {
        call_id for call_id, event in _reported(receiver) if event == _OVER
    }
    assert {first[call_id] for call_id in whole} == {_STARTED, _OVER}


def test_a_switch_changed_while_live_repeats_and_forgets_nothing(
    busy: RunningSimulator, receiver: Receiver
) -> None:
    account = busy.account("main")
    now = NOW
    for minutes in range(1, 8):
        now += dt.timedelta(minutes=3)
        busy.clock.set(now)
        account.set_webhooks(layout="flat" if minutes % 2 else "inside")
        time.sleep(0.1)
    due = _due(account, NOW, now)
    _wait(lambda: len(receiver.received) >= due.total())
    account.set_webhooks(duplicate=1.0)
    time.sleep(0.7)
    assert _reported(receiver) == due, "duplicates are for what comes from now on"


def test_a_clock_set_back_tells_again_what_happens_again(
    busy: RunningSimulator, receiver: Receiver
) -> None:
    account = busy.account("main")
    later = NOW + dt.timedelta(minutes=20)
    due = _due(account, NOW, later)
    for _ in range(2):
        receiver.received.clear()
        busy.clock.set(later)
        _wait(lambda: len(receiver.received) >= due.total())
        assert _reported(receiver) == due
        busy.clock.set(NOW)
        time.sleep(0.5)


def test_live_ends_by_its_switch_and_with_the_simulator(receiver: Receiver) -> None:
    settings = AccountSettings(key=KEY, name="main", calls_per_day=1000, rhythm="flat")
    with run_simulator([settings], now=NOW) as sim:
        account = sim.account("main")
        account.set_webhooks(url=receiver.url, live=True)
        account.set_webhooks(live=False)
        sim.clock.set(NOW + dt.timedelta(hours=1))
        time.sleep(0.5)
        assert receiver.received == []
        account.set_webhooks(live=True)
    sim.clock.set(NOW + dt.timedelta(hours=2))
    time.sleep(0.5)
    assert receiver.received == []


def test_in_real_time_a_webhook_comes_within_seconds_of_its_moment(receiver: Receiver) -> None:
    now = dt.datetime.now(dt.UTC)
    # Where it is eleven in the morning: at night there might be no call for minutes.
    zone = f"Etc/GMT{now.hour - 11:+d}"
    settings = AccountSettings(
        key=KEY,
        name="main",
        calls_per_day=15_000,
        rhythm="flat",
        time_zone=zone,
        first_day=now.astimezone(zoneinfo.ZoneInfo(zone)).date(),
    )
    with run_simulator([settings]) as sim:
        account = sim.account("main")
        account.set_webhooks(url=receiver.url, live=True)
        _wait(lambda: len([each for each in receiver.received if _is_start(each)]) > 1)
        started = [each for each in account.list_deliveries() if each.event == _STARTED]
        began = {
            call.call_id: call.called_ts
            for call in account.list_calls(int(time.time()) - 60, int(time.time()) + 1)
        }
    delays = [each.sent_at.timestamp() - began[each.call_id] for each in started]
    assert all(0 <= each < 10 for each in delays), delays


def _is_start(received: Received) -> bool:
    return bool(received.json["hook_event"] == _STARTED)
