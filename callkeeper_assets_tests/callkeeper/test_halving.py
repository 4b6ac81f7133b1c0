"""Windows that a source does not answer are halved, and nothing is lost or doubled at a seam."""

import threading
from collections.abc import Callable
from datetime import date, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from callkeeper_assets.callkeeper.client import CallKeeperClient
from callkeeper_assets.callkeeper.records import AbortError, RetryLaterError
from callkeeper_assets.callkeeper.windows import window_of_day
from callkeeper_assets_tests.callkeeper.conftest import KEY, ConnectTo, epochs_of, fetch_day
from callkeeper_assets_tests.callkeeper.fake_source import (
    Answer,
    Asked,
    account_of,
    failure_answer,
    json_answer,
    run_fake_source,
)
from callkeeper_assets_tests.callkeeper.test_windows import ZONES
from callkeeper_assets_tests.extent import examples

DAY = date(2026, 1, 5)
WINDOW = window_of_day(DAY, ZoneInfo("Europe/Moscow"))
# A call every half hour, on and beside the seams, the first and the last second included.
TIMES = dict(
    enumerate(
        WINDOW.start + half_hour * 1800 + beside for half_hour in range(49) for beside in (-1, 0, 1)
    )
)
OF_THE_DAY = [i for i, epoch in TIMES.items() if WINDOW.start <= epoch < WINDOW.end]


def _refuse_over(hours: float, refusal: Answer) -> Callable[[Asked], Answer]:
    account = account_of(TIMES)

    def answer(asked: Asked) -> Answer:
        return refusal if asked.end - asked.start > hours * 3600 + 2 else account(asked)

    return answer


REFUSALS = {
    "413": failure_answer("Request Entity Too Large", 413),
    "504": failure_answer("Gateway timeout", 504),
    "cut JSON": Answer(b'{"result":[{"id":1,"date_timestamp":1767603600},{"id'),
    "closed early": Answer(b'{"result":[]}' + b" " * 500_000, cut_to=100_000),
    "nothing at all": Answer(b""),
    "a reason": failure_answer("Too many records"),
    "a reason with 400": failure_answer("The period is too long", 400),
}


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS.keys())
def test_a_window_refused_for_its_size_is_halved(connect_to: ConnectTo, refusal: Answer) -> None:
    client, source = connect_to(_refuse_over(3, refusal))
    day = fetch_day(client, DAY)
    assert day.call_ids == OF_THE_DAY
    assert epochs_of(day) == [TIMES[i] for i in OF_THE_DAY]
    answered = [asked for asked in source.asked if asked.end - asked.start <= 3 * 3600 + 2]
    assert len(answered) == 8
    assert day.details.requests == len(source.asked)


def test_a_window_that_times_out_is_halved_at_once(connect_to: ConnectTo) -> None:
    released = threading.Event()
    account = account_of(TIMES)

    def answer(asked: Asked) -> Answer:
        if asked.end - asked.start > 13 * 3600:
            released.wait(10)
        return account(asked)

    client, source = connect_to(answer, timeout_sec=0.3)
    try:
        day = fetch_day(client, DAY)
    finally:
        released.set()
    assert day.call_ids == OF_THE_DAY
    assert len(source.asked) == 3


def test_a_window_whose_answer_comes_in_drops_is_halved(connect_to: ConnectTo) -> None:
    account = account_of(TIMES)

    def answer(asked: Asked) -> Answer:
        if asked.end - asked.start > 13 * 3600:
            return Answer(b"[]" + b" " * 5_000_000, pace_sec=0.02)
        return account(asked)

    client, source = connect_to(answer, timeout_sec=0.1)
    assert fetch_day(client, DAY).call_ids == OF_THE_DAY
    assert len(source.asked) == 3


def test_the_next_day_starts_with_the_window_that_was_answered(connect_to: ConnectTo) -> None:
    client, source = connect_to(_refuse_over(1, REFUSALS["413"]))
    requests = [fetch_day(client, DAY + timedelta(days=i)).details.requests for i in range(5)]
    # 24, 12, 6, 3, 1.5 h are refused once; then every other day tries 1.5 h again.
    assert requests == [5 + 32, 32, 1 + 32, 32, 1 + 32]
    assert sum(requests) == len(source.asked)


def test_a_source_that_cuts_everything_fails_at_a_minute_naming_the_window(
    connect_to: ConnectTo,
) -> None:
    client, source = connect_to(lambda _: REFUSALS["cut JSON"])
    with pytest.raises(RetryLaterError) as caught:
        fetch_day(client, DAY)
    text = str(caught.value)
    assert "getCallsInfo for 2026-01-05 (2026-01-04T20:59:59 to 2026-01-04T21:00:" in text
    assert "52 bytes of JSON that is cut or broken" in text
    assert source.asked[-1].end - source.asked[-1].start <= 62
    assert len(source.asked) < 40


def test_a_source_that_refuses_even_a_minute_is_a_permanent_failure(connect_to: ConnectTo) -> None:
    client, _ = connect_to(lambda _: REFUSALS["413"])
    with pytest.raises(AbortError, match="refuses even a minute of calls"):
        fetch_day(client, DAY)


@pytest.mark.parametrize("is_end_inclusive", [True, False])
@pytest.mark.parametrize("is_start_inclusive", [True, False])
def test_neither_reading_of_the_bounds_loses_or_doubles_a_call(
    connect_to: ConnectTo, is_end_inclusive: bool, is_start_inclusive: bool
) -> None:
    account = account_of(
        TIMES, is_end_inclusive=is_end_inclusive, is_start_inclusive=is_start_inclusive
    )
    client, _ = connect_to(account)
    days = [fetch_day(client, DAY + timedelta(days=i)) for i in (-1, 0, 1)]
    assert [i for day in days for i in day.call_ids] == list(TIMES)


@settings(max_examples=examples(8))
@given(
    zone=st.sampled_from(ZONES),
    first=st.dates(date(1996, 1, 1), date(2036, 12, 31)),
    shares=st.lists(st.floats(0, 1, exclude_max=True), max_size=20),
    longest=st.integers(9_000, 100_000),
)
@example(zone="Europe/Berlin", first=date(2026, 3, 28), shares=[], longest=20_000)
@example(zone="America/Sao_Paulo", first=date(2017, 10, 14), shares=[], longest=20_000)
def test_days_of_any_zone_hold_every_call_exactly_once(
    zone: str, first: date, shares: list[float], longest: int
) -> None:
    days = [first + timedelta(days=i) for i in range(3)]
    windows = [window_of_day(day, ZoneInfo(zone)) for day in days]
    start, end = windows[0].start, windows[-1].end
    seams = [w.start + shift for w in windows for shift in (-1, 0, 1)]
    times = dict(enumerate(seams[1:] + [start + int((end - start) * s) for s in shares]))
    account = account_of(times, is_end_inclusive=False)

    def answer(asked: Asked) -> Answer:
        too_long = asked.end - asked.start > longest
        return json_answer({}, 413) if too_long else account(asked)

    with (
        run_fake_source(answer) as source,
        CallKeeperClient(
            source="any", api_key=KEY, base_url=source.base_url, time_zone=ZoneInfo(zone)
        ) as client,
    ):
        held = [call_id for day in client.fetch_days(days) for call_id in day.call_ids]
    assert sorted(held) == sorted(times)
