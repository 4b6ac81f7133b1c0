"""Answers that a source cuts without a word are found out, and what that costs is bounded.

The oracle is the source's own truth: whatever the cap and whichever calls it keeps, a day has all.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import get_args
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from callkeeper_assets.callkeeper.client import CallKeeperClient
from callkeeper_assets.callkeeper.records import ApiName, UnusableAnswerError
from callkeeper_assets.callkeeper.windows import window_of_day
from callkeeper_assets.simulator.account import SimulatedAccount
from callkeeper_assets.simulator.server import run_simulator
from callkeeper_assets.simulator.settings import AccountSettings, AnswerSettings
from callkeeper_assets_tests.callkeeper.conftest import KEY, QUICK, ConnectTo, fetch_day
from callkeeper_assets_tests.callkeeper.fake_source import (
    Answer,
    Asked,
    calls_answer,
    run_fake_source,
)
from callkeeper_assets_tests.extent import examples

DAY = date(2026, 1, 5)
DAYS = [DAY + timedelta(days=n) for n in range(6)]
MOSCOW = ZoneInfo("Europe/Moscow")
WINDOW = window_of_day(DAY, MOSCOW)


@contextmanager
def _open(
    api: ApiName, calls_per_day: int, parallel_days: int = 1, **switches: object
) -> Iterator[tuple[CallKeeperClient, SimulatedAccount]]:
    account = AccountSettings(key=KEY, name="m", calls_per_day=calls_per_day, rhythm="flat")
    answers = AnswerSettings(**switches)  # type: ignore[arg-type]
    with (
        run_simulator([account], answers=answers, now=datetime(2026, 2, 1, tzinfo=UTC)) as sim,
        CallKeeperClient(
            source="m",
            api_key=KEY,
            api=api,
            base_url=sim.base_urls[api],
            time_zone=MOSCOW,
            retry=QUICK,
            parallel_days=parallel_days,
        ) as client,
    ):
        yield client, sim.account("m")


@pytest.mark.parametrize("api", get_args(ApiName))
@pytest.mark.parametrize("keeps", ["newest", "oldest"])
@pytest.mark.parametrize("cap", [500, 700])
def test_a_cap_loses_no_call_and_is_remembered(api: ApiName, keeps: str, cap: int) -> None:
    with _open(api, 900, silent_cap=cap, silent_cap_keeps=keeps) as (client, account):
        requests = []
        for day in client.fetch_days(DAYS):
            truth = account.truth(day.day, day.day, api=api).calls
            assert sorted(day.call_ids) == sorted(one["call_id"] for one in truth)  # type: ignore[type-var]
            requests.append(day.details.requests)
    assert max(requests[1:]) <= 9, requests


def test_a_cap_of_five_thousand_newest_calls_loses_none() -> None:
    with _open("callkeeper", 12_000, silent_cap=5_000) as (client, account):
        days = list(client.fetch_days(DAYS[:2]))
        assert [len(day) for day in days] == [12_000] * 2
        assert account.truth(DAY, DAY, has_calls=False).count == 12_000
    # Seven found the cap, and their answers are used; then eight windows of three hours.
    assert days[0].details.requests == 9
    assert days[1].details.requests == 8


def test_a_normal_account_pays_nothing() -> None:
    """An answer has the calls of the seconds beside the day as well."""
    with _open("callkeeper", 495, parallel_days=4) as (client, account):
        assert all(day.details.requests == 1 for day in client.fetch_days(DAYS))
        assert account.requests["getCallsInfo"] == len(DAYS)


@pytest.mark.parametrize("parallel_days", [1, 4])
def test_a_large_account_pays_one_check_for_each_answer_larger_than_any_before(
    parallel_days: int,
) -> None:
    with _open("callkeeper", 800, parallel_days) as (client, account):
        assert [len(day) for day in client.fetch_days(DAYS)] == [800] * len(DAYS)
        # Days differ by the calls of the second after midnight.
        assert account.requests["getCallsInfo"] <= len(DAYS) + 2 * 2
        account.add(DAY, 5)
        assert fetch_day(client, DAY).details.requests == 3
        assert fetch_day(client, DAY).details.requests == 1


def test_calls_that_come_while_an_answer_is_checked_are_no_cap(connect_to: ConnectTo) -> None:
    """The day is today: each answer has a call more than the one before."""
    lock, count = threading.Lock(), [500]

    def answer(asked: Asked) -> Answer:
        with lock:
            count[0] += 1
            times = {n: WINDOW.start + 170 * n for n in range(count[0])}
        return calls_answer(
            *(
                {"id": n, "date_timestamp": t}
                for n, t in times.items()
                if asked.start <= t <= asked.end
            )
        )

    client, source = connect_to(answer, check_answers_from=500)
    day = fetch_day(client, DAY)
    assert (len(day), day.details.requests, len(source.asked)) == (504, 4, 4)
    assert fetch_day(client, DAY).details.requests == 4


def test_the_setting_says_from_which_size_on(connect_to: ConnectTo) -> None:
    capped = _capped({n: WINDOW.start + 600 * n for n in range(140)}, 100, keeps_newest=True)
    believing, _ = connect_to(capped)
    assert len(fetch_day(believing, DAY)) == 100
    client, _ = connect_to(capped, check_answers_from=100)
    assert len(fetch_day(client, DAY)) == 140


def test_a_minute_that_is_cut_is_an_error(connect_to: ConnectTo) -> None:
    times = {n: WINDOW.start + 30 + n % 20 for n in range(300)}
    times |= {1000 + n: WINDOW.end - 600 * (n + 1) for n in range(60)}
    client, _ = connect_to(_capped(times, 50, keeps_newest=True), check_answers_from=50)
    with pytest.raises(UnusableAnswerError) as caught:
        fetch_day(client, DAY)
    assert "50 calls, where 50 are the most that an answer has" in str(caught.value)
    assert "cuts even a minute of calls without saying so" in str(caught.value)


@pytest.mark.parametrize("keeps_newest", [True, False])
def test_a_cap_is_found_though_all_calls_lie_in_one_half_of_the_day(
    connect_to: ConnectTo, *, keeps_newest: bool
) -> None:
    """The half is cut to the very calls that the day is cut to, and the other half has none."""
    times = {n: WINDOW.start + 17 * 3600 + 60 * n for n in range(180)}
    client, source = connect_to(
        _capped(times, 100, keeps_newest=keeps_newest), check_answers_from=100
    )
    assert sorted(fetch_day(client, DAY).call_ids) == sorted(times)
    assert len(source.asked) < 30


def _capped(times: dict[int, int], cap: int, *, keeps_newest: bool) -> Callable[[Asked], Answer]:
    """A source of these calls, id -> epoch, of which an answer has no more than so many."""

    def answer(asked: Asked) -> Answer:
        found = sorted((t, i) for i, t in times.items() if asked.start <= t <= asked.end)
        kept = found[-cap:] if keeps_newest else found[:cap]
        return calls_answer(*({"id": i, "date_timestamp": t} for t, i in kept))

    return answer


@settings(max_examples=examples(2), suppress_health_check=list(HealthCheck))
@given(
    quarters=st.lists(st.integers(0, 3 * 96 - 1), max_size=80),
    cap=st.integers(10, 40),
    keeps_newest=st.booleans(),
    parallel_days=st.integers(1, 3),
)
@example(quarters=[95] * 9 + [8] * 5, cap=10, keeps_newest=True, parallel_days=1)
@example(quarters=[95] * 5 + [8] * 9, cap=10, keeps_newest=False, parallel_days=1)
def test_any_cap_loses_nothing(
    quarters: list[int], cap: int, parallel_days: int, *, keeps_newest: bool
) -> None:
    """Calls of three days, by the quarter of an hour."""
    days = [DAY + timedelta(days=n) for n in range(3)]
    times = {n: WINDOW.start + quarter * 900 + n for n, quarter in enumerate(quarters)}
    with (
        run_fake_source(_capped(times, cap, keeps_newest=keeps_newest)) as source,
        CallKeeperClient(
            source="m",
            api_key=KEY,
            base_url=source.base_url,
            time_zone=MOSCOW,
            parallel_days=parallel_days,
            check_answers_from=8,
        ) as client,
    ):
        held = [call_id for day in client.fetch_days(days) for call_id in day.call_ids]
    assert sorted(held) == sorted(times)
