"""What was asked for is what comes, or it is said: dates that are ignored, cut, read elsewhere.

The oracle is the simulator's own truth: a day that is handed out has all of its calls. A source
that reads the bounds otherwise has to be an error, which says what was asked and what came.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any, get_args
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from callkeeper_assets.callkeeper.client import CallKeeperClient
from callkeeper_assets.callkeeper.keys import ORDERED_HERE
from callkeeper_assets.callkeeper.records import ApiName, CallKeeperError, UnusableAnswerError
from callkeeper_assets.callkeeper.windows import window_of_day
from callkeeper_assets.simulator.account import SimulatedAccount
from callkeeper_assets.simulator.server import run_simulator
from callkeeper_assets.simulator.settings import AccountSettings, AnswerSettings
from callkeeper_assets_tests.callkeeper.conftest import (
    KEY,
    QUICK,
    ConnectTo,
    fetch_day,
    payloads_of,
)
from callkeeper_assets_tests.callkeeper.fake_source import Answer, Asked, calls_answer, json_answer
from callkeeper_assets_tests.callkeeper.test_unified import call, failure, read_path
from callkeeper_assets_tests.extent import examples

DAY = date(2026, 1, 5)
MOSCOW = ZoneInfo("Europe/Moscow")
WINDOW = window_of_day(DAY, MOSCOW)
APIS = get_args(ApiName)
Give = Callable[[Asked], Answer]
HOUR = 3600


@contextmanager
def _open(
    api: ApiName,
    calls_per_day: int = 60,
    zone: str = "Europe/Moscow",
    first_day: date = date(2025, 10, 1),
    now: datetime = datetime(2026, 2, 20, 9, tzinfo=UTC),
    **switches: object,
) -> Iterator[tuple[CallKeeperClient, SimulatedAccount]]:
    account = AccountSettings(
        key=KEY,
        name="office",
        calls_per_day=calls_per_day,
        rhythm="flat",
        time_zone=zone,
        first_day=first_day,
    )
    answers = AnswerSettings(**switches)  # type: ignore[arg-type]
    with (
        run_simulator([account], answers=answers, now=now) as running,
        CallKeeperClient(
            source="office",
            api_key=KEY,
            api=api,
            base_url=running.base_urls[api],
            time_zone=ZoneInfo(zone),
            retry=QUICK,
        ) as client,
    ):
        yield client, running.account("office")


def _fail(client: CallKeeperClient, day: date = DAY) -> str:
    with pytest.raises(UnusableAnswerError) as caught:
        fetch_day(client, day)
    text = str(caught.value)
    assert KEY not in text
    assert caught.value.__context__ is None
    return text


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("calls_per_day", [3, 19, 60, 1200])
def test_dates_that_are_ignored_are_an_error_that_says_what_was_asked_and_what_came(
    api: ApiName, calls_per_day: int
) -> None:
    first, now = date(2025, 12, 28), datetime(2026, 1, 12, 9, tzinfo=UTC)
    with _open(api, calls_per_day, first_day=first, now=now, bounds="ignored") as opened:
        client, account = opened
        text = _fail(client)
        requests = sum(account.requests.values())
    assert "source 'office'" in text
    assert "for 2026-01-05 (2026-01-04T20:59:59 to 2026-01-05T21:00:01 UTC)" in text
    assert "outside of what was asked for" in text
    assert "does not heed the dates that it is asked for" in text
    assert "Nothing of the day was stored. Ask CallKeeper's support" in text
    assert requests <= 2, "an account of any size is not read to its end for it"


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("bounds", ["only_from", "only_to"])
def test_one_bound_that_is_ignored_is_an_error(api: ApiName, bounds: str) -> None:
    with _open(api, bounds=bounds) as (client, _):
        assert "does not heed the dates" in _fail(client)


def test_days_read_before_months_are_an_error() -> None:
    with _open("callkeeper", bounds="day_first") as (client, _), pytest.raises(CallKeeperError):
        list(client.fetch_days(DAY + timedelta(days=n) for n in range(31)))


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize(
    ("bounds_zone", "zone", "said"),
    [
        ("Europe/Moscow", "Europe/Moscow", "in Europe/Moscow (UTC+03:00)"),
        ("Europe/Moscow", "Asia/Vladivostok", "in Europe/Moscow (UTC+03:00)"),
        ("Asia/Vladivostok", "Asia/Vladivostok", "in Asia/Vladivostok (UTC+10:00)"),
        ("Asia/Kolkata", "Europe/Moscow", "at UTC+05:30"),
        ("UTC-05:00", "Europe/Moscow", "at UTC-05:00"),
        ("UTC+00:30", "Europe/Moscow", "at UTC+00:30"),
    ],
)
def test_bounds_read_in_another_zone_are_an_error_that_names_the_zone(
    api: ApiName, bounds_zone: str, zone: str, said: str
) -> None:
    with _open(api, 900, zone, bounds_zone=bounds_zone) as (client, _):
        text = _fail(client)
    assert f"as if the bounds were read {said} and not in UTC" in text
    assert "As many hours of each day would be missing" in text


@pytest.mark.parametrize("day", [date(2025, 10, 26), date(2025, 10, 25)])
def test_a_zone_with_summer_time_is_named_on_the_day_of_its_change(day: date) -> None:
    with _open("callkeeper", 900, "Europe/Berlin", bounds_zone="Europe/Berlin") as (client, _):
        assert "as if the bounds were read in Europe/Berlin" in _fail(client, day)


@settings(max_examples=examples(10), suppress_health_check=list(HealthCheck))
@example(api="callkeeper", calls_per_day=2, seed=0, bounds="heeded", bounds_zone="UTC+03:00")
@given(
    api=st.sampled_from(APIS),
    calls_per_day=st.integers(0, 40),
    seed=st.integers(0, 5),
    bounds=st.sampled_from(["heeded", "ignored", "only_from", "only_to"]),
    bounds_zone=st.sampled_from(["", "UTC+03:00", "UTC-03:00", "UTC+00:30", "Asia/Vladivostok"]),
)
def test_no_call_of_a_small_account_is_lost_without_an_error(
    api: ApiName, calls_per_day: int, seed: int, bounds: str, bounds_zone: str
) -> None:
    """Even three calls a day: what a day loses by a shift shows beside its neighbour.

    Hence the first and the last day are not held to it: no neighbour of theirs was asked for.
    """
    account = AccountSettings(
        key=KEY, name="m", calls_per_day=calls_per_day, seed=seed, first_day=date(2026, 1, 1)
    )
    answers = AnswerSettings(bounds=bounds, bounds_zone=bounds_zone)  # type: ignore[arg-type]
    days = [date(2026, 1, 3) + timedelta(days=n) for n in range(9)]
    found: dict[date, list[int]] = {}
    kept: set[int | None] = set()
    with (
        run_simulator([account], answers=answers, now=datetime(2026, 2, 1, tzinfo=UTC)) as sim,
        CallKeeperClient(
            source="m",
            api_key=KEY,
            api=api,
            base_url=sim.base_urls[api],
            time_zone=MOSCOW,
            retry=QUICK,
        ) as client,
    ):
        try:
            for fetched in client.fetch_days(days):
                found[fetched.day] = sorted(fetched.call_ids)
                kept.update(one.key for one in fetched.unusable)
        except UnusableAnswerError:
            assert (bounds, bounds_zone) != ("heeded", "")
            return
        for day in days[1:-1]:
            truth = sim.account("m").truth(day, day, api=api)
            window = window_of_day(day, MOSCOW)
            # The second on either side may come with a neighbour's answer: it proves nothing.
            seams = {
                datetime.fromtimestamp(epoch, UTC)
                for epoch in (window.start, window.start + 1, window.end - 1)
            }
            calls = {one["call_id"]: one["called_at"] for one in truth.calls}
            assert set(found[day]) <= calls.keys()
            # One that was ordered on a neighbour's day may lie there by the source's own choice:
            # it is kept, and counted among what cannot be used.
            lost = calls.keys() - set(found[day]) - kept
            assert {call_id for call_id in lost if calls[call_id] not in seams} == set()


def _account(*rows: dict[str, Any], always: tuple[dict[str, Any], ...] = ()) -> Give:
    """A source of these calls, and of some that come whatever is asked for."""

    def answer(asked: Asked) -> Answer:
        chosen = [each for each in rows if asked.start <= each["date_timestamp"] <= asked.end]
        return calls_answer(*chosen, *(each for each in always if each not in chosen))

    return answer


def _calls(count: int) -> list[dict[str, Any]]:
    step = WINDOW.seconds // count
    return [{"id": n + 1, "date_timestamp": WINDOW.start + n * step} for n in range(count)]


def test_a_single_call_that_comes_with_every_window_is_named_and_blocks_no_year(
    connect_to: ConnectTo,
) -> None:
    odd = {"id": 777, "date_timestamp": WINDOW.start + (40 * 24 + 5) * HOUR}
    client, _ = connect_to(_account(*_calls(20), always=(odd,)))
    days = list(client.fetch_days(DAY + timedelta(days=n) for n in range(365)))
    assert sum(len(day) for day in days) == 20 + 1
    assert {day.day for day in days if not day.details.strays} == {DAY + timedelta(days=40)}
    assert days[0].details.strays == (777,)
    assert days[0].details.requests == 2
    assert days[40].call_ids == [777]


def test_a_few_calls_chosen_by_the_time_of_ordering_are_named(connect_to: ConnectTo) -> None:
    """Ordered before midnight and called after: the source has them under the day before."""
    late = [
        {"id": 500 + n, "date_timestamp": WINDOW.end + 300 + n, "order_date": "2026-01-05 20:58:00"}
        for n in range(2)
    ]

    def answer(asked: Asked) -> Answer:
        ordered = int(datetime(2026, 1, 5, 20, 58, tzinfo=UTC).timestamp())
        rows = [each for each in _calls(300) if asked.start <= each["date_timestamp"] <= asked.end]
        return calls_answer(*rows, *(late if asked.start <= ordered <= asked.end else ()))

    client, _ = connect_to(answer)
    day = fetch_day(client, DAY)
    assert (len(day), day.details.strays) == (300, (500, 501))
    # No other window has them: they are kept aside, and listed.
    assert [(one.key, one.reason) for one in day.unusable] == [
        (500, ORDERED_HERE),
        (501, ORDERED_HERE),
    ]
    assert fetch_day(client, DAY + timedelta(days=1)).call_ids == []


def test_one_call_that_is_missing_at_its_own_time_shows_that_bounds_are_read_otherwise(
    connect_to: ConnectTo,
) -> None:
    def answer(asked: Asked) -> Answer:
        rows = [{"id": 99, "date_timestamp": WINDOW.start - HOUR}, *_calls(20)[:15]]
        shifted = (asked.start - 3 * HOUR, asked.end - 3 * HOUR)
        return calls_answer(*(r for r in rows if shifted[0] <= r["date_timestamp"] <= shifted[1]))

    client, source = connect_to(answer)
    text = _fail(client)
    assert "16 calls of 2026-01-04T20:00:00 to 2026-01-05T13:48:00 UTC; 1 of them lies outside" in (
        text
    )
    assert "in Europe/Moscow (UTC+03:00)" in text
    assert len(source.asked) == 2


def test_a_call_without_a_time_of_its_own_is_no_proof(connect_to: ConnectTo) -> None:
    """Its day is a guess: a source that chose it by another time heeds the dates all the same."""
    guessed = call(9, callTime="", cbOrderDate="2026-01-01 10:00:00")

    def answer(asked: Asked) -> Answer:
        page, start, end = read_path(asked)
        if page:
            return failure("Incorrect page is set")
        rows = [call(5, WINDOW.start + 60)] if start <= WINDOW.start + 60 <= end else []
        if end - start > HOUR:
            rows.append(guessed)
        return json_answer(rows) if rows else failure("No rows found")

    client, _ = connect_to(answer, api="ckct")
    day = fetch_day(client, DAY)
    assert (day.call_ids, day.details.strays) == ([5], ())
    assert [record.key for record in day.unusable] == [9]


def test_calls_of_the_second_on_either_side_are_no_strays(connect_to: ConnectTo) -> None:
    beside = [
        {"id": 900, "date_timestamp": WINDOW.start - 1},
        {"id": 901, "date_timestamp": WINDOW.end},
        {"id": 902, "date_timestamp": WINDOW.end + 1},
    ]
    client, source = connect_to(_account(*_calls(5), *beside))
    day = fetch_day(client, DAY)
    assert (len(day), day.details.strays, len(source.asked)) == (5, (), 1)
    assert json.loads(payloads_of(day)[0])["id"] == 1
