"""Days side by side: their order, their bytes, their limit, and how they stop."""

import json
import threading
import time
from datetime import UTC, date, datetime, timedelta

import pytest

from callkeeper_assets.callkeeper.records import AbortError
from callkeeper_assets.callkeeper.session import RetryPolicy
from callkeeper_assets_tests.callkeeper.conftest import ConnectTo, epochs_of, fetch_day, payloads_of
from callkeeper_assets_tests.callkeeper.fake_source import (
    Answer,
    Asked,
    calls_answer,
    failure_answer,
)

FIRST = date(2026, 1, 1)
DAYS = [FIRST + timedelta(days=i) for i in range(20)]


def _one_call(asked: Asked) -> Answer:
    return calls_answer({"id": asked.start, "date_timestamp": asked.start + 60})


class _Gauge:
    """How many requests are under way, and how many ever were at once."""

    def __init__(self) -> None:
        self.most = self._now = 0
        self._lock = threading.Lock()

    def __call__(self, asked: Asked) -> Answer:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        time.sleep(0.01)  # long enough for others to come in between
        with self._lock:
            self._now -= 1
        return _one_call(asked)


def _threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("callkeeper-main_office")]


def test_a_days_calls_are_sorted_and_their_payloads_are_the_very_bytes(
    connect_to: ConnectTo,
) -> None:
    late = '{ "id":"7" ,\t"date_timestamp":1767214801, "city":"Тверь\\u0021", "n":1.50 }'
    early = '{"id":9,"date_timestamp":"1767214800"}'
    other = '{"id":8,"date_timestamp":1767214801}'
    body = f'{{"result":[ {late} ,\n{other},{early}]}}'.encode()
    client, _ = connect_to(lambda _: Answer(body))
    before = datetime.now(UTC)
    day = fetch_day(client, FIRST)
    assert day.call_ids == [9, 7, 8]
    assert epochs_of(day) == [1767214800, 1767214801, 1767214801]
    assert payloads_of(day) == [early.encode(), late.encode(), other.encode()]
    assert day.details.window_from == datetime(2025, 12, 31, 21, tzinfo=UTC)
    assert day.details.window_to == datetime(2026, 1, 1, 21, tzinfo=UTC)
    assert before <= day.details.fetched_at <= datetime.now(UTC)


def test_a_day_counts_as_fetched_from_its_first_request_on_however_long_it_takes(
    connect_to: ConnectTo,
) -> None:
    """A webhook that comes meanwhile may be of a call that no answer of the day shows."""
    asked_at: list[datetime] = []

    def answer(asked: Asked) -> Answer:
        asked_at.append(datetime.now(UTC))
        if len(asked_at) == 1:
            return failure_answer("temporary", status=503)
        return _one_call(asked)

    client, _ = connect_to(answer)
    day = fetch_day(client, FIRST)
    assert len(asked_at) == day.details.requests == 2
    assert day.details.fetched_at <= asked_at[0]


def test_days_come_in_the_order_asked_for_whatever_order_they_are_answered_in(
    connect_to: ConnectTo,
) -> None:
    second_answered = threading.Event()

    def answer(asked: Asked) -> Answer:
        if asked.parameters["date[from]"].startswith("2025-12-31"):
            assert second_answered.wait(5)
        elif asked.parameters["date[from]"].startswith("2026-01-01"):
            second_answered.set()
        return _one_call(asked)

    client, _ = connect_to(answer)
    assert [day.day for day in client.fetch_days(DAYS)] == DAYS


def test_as_many_requests_are_under_way_as_parallel_days_and_never_more(
    connect_to: ConnectTo,
) -> None:
    gauge = _Gauge()
    client, _ = connect_to(gauge, parallel_days=3)
    assert len(list(client.fetch_days(DAYS))) == len(DAYS)
    assert gauge.most == 3


def test_a_slow_reader_holds_back_the_fetching(connect_to: ConnectTo) -> None:
    client, source = connect_to(_one_call, parallel_days=2)
    days = client.fetch_days(DAYS)
    next(days)
    for _ in range(100):
        time.sleep(0.002)
        assert len(source.asked) <= 4
    days.close()
    assert not _threads()


def test_days_before_a_failed_one_are_handed_out_then_everything_stops(
    connect_to: ConnectTo,
) -> None:
    def answer(asked: Asked) -> Answer:
        is_fourth = asked.parameters["date[from]"].startswith("2026-01-03")
        return failure_answer("Unknown user", 412) if is_fourth else _one_call(asked)

    client, source = connect_to(answer, parallel_days=2)
    days = client.fetch_days(DAYS)
    assert [next(days).day for _ in range(3)] == DAYS[:3]
    with pytest.raises(AbortError, match="getCallsInfo for 2026-01-04") as caught:
        next(days)
    assert caught.value.__context__ is None
    assert not _threads()
    assert len(source.asked) <= 3 + 4


def test_a_wait_between_retries_ends_when_another_day_fails(connect_to: ConnectTo) -> None:
    busy_asked = threading.Event()

    def answer(asked: Asked) -> Answer:
        if asked.parameters["date[from]"].startswith("2025-12-31"):
            assert busy_asked.wait(60)
            return failure_answer("Unknown user", 412)
        busy_asked.set()
        return Answer(b"{}", 503, {"Retry-After": "60"})

    client, _ = connect_to(answer, retry=RetryPolicy(), parallel_days=2)
    began = time.monotonic()
    with pytest.raises(AbortError, match="Unknown user"):
        list(client.fetch_days(DAYS))
    assert time.monotonic() - began < 50


def test_one_connection_serves_many_days_and_cookies_are_not_kept(connect_to: ConnectTo) -> None:
    def answer(asked: Asked) -> Answer:
        given = _one_call(asked)
        return Answer(given.body, headers={"Set-Cookie": "PHPSESSID=1; path=/"})

    client, source = connect_to(answer)
    assert [len(fetch_day(client, day)) for day in DAYS] == [1] * 20
    assert json.loads(payloads_of(fetch_day(client, FIRST))[0])["id"] == source.asked[0].start
