"""Windows: every documented form of `date` and `time_zone`, both readings of `date[to]`.

The expectation is always computed from the calls' own UTC timestamps.
"""

import datetime as dt
import itertools
import zoneinfo

import pytest
import requests

from callkeeper_assets.simulator.server import RunningSimulator, run_simulator
from callkeeper_assets.simulator.settings import AccountSettings, AnswerSettings
from callkeeper_assets_tests.simulator.conftest import KEY, NOW, Asker


def _times(asker: Asker, from_: str, to: str, time_zone: str) -> list[int]:
    return [int(call["date_timestamp"]) for call in asker.calls(from_, to, time_zone)]


def _epoch(text: str) -> int:
    return int(dt.datetime.fromisoformat(text).timestamp())


@pytest.mark.parametrize(
    ("time_zone", "offset"),
    [
        ("Europe/Moscow", "+03:00"),
        ("UTC+03:00", "+03:00"),
        ("UTC-05:30", "-05:30"),
        ("Asia/Vladivostok", "+10:00"),
        ("UTC", "+00:00"),
    ],
)
def test_the_time_zone_moves_the_bounds_but_not_the_dates(
    asker: Asker, time_zone: str, offset: str
) -> None:
    all_times = _times(asker, "2026-02-27", "2026-03-05", "UTC")
    low, high = _epoch(f"2026-03-02T00:00:00{offset}"), _epoch(f"2026-03-02T23:59:59{offset}")
    times = _times(asker, "2026-03-02T00:00:00", "2026-03-02T23:59:59", time_zone)
    assert times == [time for time in all_times if low <= time <= high]
    for call in asker.calls("2026-03-02T00:00:00", "2026-03-02T23:59:59", time_zone):
        moment = dt.datetime.fromtimestamp(int(call["date_timestamp"]), dt.UTC)
        assert call["date"] == moment.strftime("%Y-%m-%d %H:%M:%S")


def test_a_plus_that_was_not_escaped_is_understood(sim: RunningSimulator, asker: Asker) -> None:
    query = f"api_key={KEY}&date[from]=2026-03-02&date[to]=2026-03-02&time_zone=UTC+03:00"
    answer = requests.get(f"{sim.base_url}/getCallsInfo?{query}", timeout=10)
    assert answer.json()["result"] == asker.calls("2026-03-02", "2026-03-02", "UTC+03:00")


def test_a_moment_may_have_an_offset_of_its_own_or_a_space_for_its_t(asker: Asker) -> None:
    plain = asker.calls("2026-03-02T10:00:00", "2026-03-02T12:00:00")
    assert plain
    assert asker.calls("2026-03-02T10:00:00+03:00", "2026-03-02T09:00:00Z", "UTC") == plain
    assert asker.calls("2026-03-02 10:00:00", "2026-03-02 12:00:00") == plain


@pytest.mark.parametrize(
    "query", ["date=", "date[from]=&date[to]=", "date[]="], ids=["empty", "bounds", "array"]
)
def test_an_empty_date_asks_for_all_time(sim: RunningSimulator, query: str) -> None:
    answer = requests.get(f"{sim.base_url}/getCallsInfo?api_key={KEY}&{query}", timeout=10)
    truth = sim.account("main").truth(dt.date(2020, 1, 1), NOW.date(), has_calls=False)
    assert len(answer.json()["result"]) == truth.count > 4_000


def test_a_bound_left_empty_is_open(sim: RunningSimulator, asker: Asker) -> None:
    truth = sim.account("main").truth(dt.date(2026, 3, 30), NOW.date(), has_calls=False)
    assert len(asker.calls("2026-03-30", "")) == truth.count


@pytest.mark.parametrize(
    ("date_to", "bare"), list(itertools.product(["inclusive", "exclusive"], ["start", "end"]))
)
def test_each_reading_of_the_end_keeps_or_leaves_the_call_at_the_seam(
    sim: RunningSimulator, asker: Asker, date_to: str, bare: str
) -> None:
    """The account has calls at midnight sharp: they tell the four readings apart."""
    account = sim.account("main")
    midnights = [
        day
        for day in (dt.date(2026, 3, 1) + dt.timedelta(days=n) for n in range(1, 29))
        for first in account.truth(day, day).calls[:1]
        if first["called_at"] == dt.datetime(day.year, day.month, day.day, tzinfo=account.zone)
    ]
    assert len(midnights) > 10
    day = midnights[0]
    before = day - dt.timedelta(days=1)
    account.set_answers(date_to=date_to, bare_date_to=bare)
    first_of_day = account.truth(day, day).calls[0]["call_id"]
    to = day if bare == "start" else before
    ids = [int(call["id"]) for call in asker.calls(str(before), str(to))]
    expected = [call["call_id"] for call in account.truth(before, before).calls]
    assert ids == expected + ([first_of_day] if date_to == "inclusive" else [])


@pytest.mark.parametrize(
    ("time_zone", "day", "hours"),
    [("Europe/Berlin", dt.date(2025, 3, 30), 23), ("Europe/Berlin", dt.date(2025, 10, 26), 25)],
)
def test_days_of_23_and_25_hours_are_whole(time_zone: str, day: dt.date, hours: int) -> None:
    settings = AccountSettings(
        key=KEY, time_zone=time_zone, calls_per_day=500, rhythm="flat", name="berlin"
    )
    answers = AnswerSettings(date_to="exclusive")
    with run_simulator([settings], answers=answers, now=NOW) as sim:
        times = _times(Asker(sim), str(day), str(day), time_zone)
    zone = zoneinfo.ZoneInfo(time_zone)
    start = int(dt.datetime(day.year, day.month, day.day, tzinfo=zone).timestamp())
    assert len(times) == 500
    assert start <= min(times)
    assert start + (hours - 2) * 3600 < max(times) < start + hours * 3600


def test_a_period_is_the_sum_of_its_minutes(asker: Asker, sim: RunningSimulator) -> None:
    """Halved windows must give what the whole one gives."""
    sim.account("main").set_answers(date_to="exclusive")
    whole = asker.calls("2026-03-02T10:00:00", "2026-03-02T10:40:00")
    parts = [
        call
        for minute in range(0, 40, 2)
        for call in asker.calls(
            f"2026-03-02T10:{minute:02d}:00",
            f"2026-03-02T10:{minute + 2:02d}:00" if minute < 38 else "2026-03-02T10:40:00",
        )
    ]
    assert whole
    assert parts == whole


def test_a_window_turned_around_is_empty(asker: Asker) -> None:
    assert asker.calls("2026-03-05", "2026-03-01") == []
