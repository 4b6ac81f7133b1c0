"""What is asked again, what is not, and what the error says."""

import logging
import re
import socket
import time
from datetime import UTC, date, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from callkeeper_assets.callkeeper.client import CallKeeperClient
from callkeeper_assets.callkeeper.records import (
    AbortError,
    CallKeeperError,
    RetryLaterError,
    UnusableAnswerError,
)
from callkeeper_assets.callkeeper.session import RetryPolicy
from callkeeper_assets_tests.callkeeper.conftest import KEY, QUICK, ConnectTo, fetch_day
from callkeeper_assets_tests.callkeeper.fake_source import (
    Answer,
    calls_answer,
    failure_answer,
    in_order,
    json_answer,
)

DAY = date(2026, 1, 5)
NOON = 1_767_603_600  # of that day in Moscow
CALL = calls_answer({"id": 1, "date_timestamp": NOON})
HTML = Answer(b"<html>We are moving. Call +7 495 123-45-67</html>")


def _fail(client: CallKeeperClient, error: type[CallKeeperError]) -> str:
    with pytest.raises(error) as caught:
        fetch_day(client, DAY)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    text = str(caught.value)
    assert KEY not in text
    return text


@pytest.mark.parametrize(
    ("status", "reason", "remedy"),
    [
        (400, "Key 'apiak' is not defined!", "check base_url, else report it"),
        (401, "Unauthorized host!", "Add the address of this machine to the allowed hosts"),
        (403, "Not the correct key api", "Check the key in CALLKEEPER_API_KEY"),
        (404, "Mismatched request!", "the source knows no such request"),
        (405, "Unknown request method!", "the source knows no such method"),
        (406, "Date is not array", "check base_url, else report it"),
        (409, "Not enough values", "check base_url, else report it"),
        (412, "Unknown user", "Check the key in CALLKEEPER_API_KEY"),
        (417, "The key is not hexadecimal", "must be 32 hexadecimal characters"),
        (418, "I'm a teapot", "Check base_url"),
    ],
)
def test_a_refusal_is_not_asked_again_and_says_what_to_do(
    connect_to: ConnectTo, status: int, reason: str, remedy: str
) -> None:
    client, source = connect_to(
        lambda _: failure_answer(reason, status), key_name="CALLKEEPER_API_KEY"
    )
    text = _fail(client, AbortError)
    assert len(source.asked) == 1
    assert text.startswith("source 'main_office': getCallsInfo for 2026-01-05 (2026-01-04T20:59:59")
    assert f"HTTP {status} " in text
    assert reason in text
    assert remedy in text


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_passing_failure_is_asked_again(connect_to: ConnectTo, status: int) -> None:
    busy = failure_answer("Busy", status)
    client, source = connect_to(in_order(busy, busy, CALL))
    assert fetch_day(client, DAY).call_ids == [1]
    assert len(source.asked) == 3


def test_429_for_ever_is_given_up_after_all_retries_and_never_halved(
    connect_to: ConnectTo,
) -> None:
    client, source = connect_to(lambda _: failure_answer("Slow down", 429))
    text = _fail(client, RetryLaterError)
    assert len(source.asked) == 1 + QUICK.retries
    assert len({asked.start for asked in source.asked}) == 1
    assert "HTTP 429 'Slow down' (request 6). Try again later" in text


def test_a_short_retry_after_is_obeyed_and_a_long_one_does_not_hang(connect_to: ConnectTo) -> None:
    client, source = connect_to(in_order(json_answer({}, 503, Retry_After="0"), CALL))
    assert fetch_day(client, DAY).call_ids == [1]
    client, source = connect_to(lambda _: json_answer({}, 429, Retry_After="3600"))
    text = _fail(client, RetryLaterError)
    assert len(source.asked) == 1
    assert "asked again after 3600 s, longer than the 0 s that are waited for" in text


def test_a_retry_after_that_nobody_can_read_is_none(connect_to: ConnectTo) -> None:
    for reported in ("soon", "-1", "1.5", "Mon, 05 Jan 2026 00:00:00 +99999999999999999999"):
        client, source = connect_to(
            lambda _, reported=reported: json_answer({}, 429, Retry_After=reported), retry=QUICK
        )
        _fail(client, RetryLaterError)
        assert len(source.asked) == 1 + QUICK.retries


@pytest.mark.parametrize("reported", ["0", "00", "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_a_retry_after_that_has_passed_does_not_spend_the_tries_at_once(
    connect_to: ConnectTo, reported: str
) -> None:
    client, source = connect_to(
        lambda _: json_answer({}, 503, Retry_After=reported),
        retry=RetryPolicy(retries=2, first_pause_sec=0.2, longest_pause_sec=0.2),
    )
    start = time.monotonic()
    _fail(client, RetryLaterError)
    assert len(source.asked) == 3
    assert time.monotonic() - start >= 2 * 0.2 / 2


@pytest.mark.parametrize("seconds", [21_601, 864_000])
@pytest.mark.parametrize("is_date", [False, True])
def test_a_retry_after_of_days_is_reported_as_the_source_says_it(
    connect_to: ConnectTo, seconds: int, *, is_date: bool
) -> None:
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)
    client, _ = connect_to(
        lambda _: json_answer({}, 429, Retry_After=moment if is_date else str(seconds))
    )
    text = _fail(client, RetryLaterError)
    [reported] = re.findall(r"asked again after (\d+) s", text)
    assert seconds - 60 <= int(reported) <= seconds


def test_html_is_asked_again_thrice_and_shown_without_phone_numbers(connect_to: ConnectTo) -> None:
    client, source = connect_to(in_order(HTML, CALL))
    assert fetch_day(client, DAY).call_ids == [1]
    client, source = connect_to(lambda _: HTML)
    text = _fail(client, RetryLaterError)
    assert len(source.asked) == 4
    assert "<html>We are moving. Call ***</html>" in text


def test_a_redirect_is_not_followed_as_the_key_would_go_along(connect_to: ConnectTo) -> None:
    target, asked_target = connect_to(lambda _: CALL)
    client, _ = connect_to(
        lambda _: json_answer({}, 302, Location=asked_target.base_url + "/getCallsInfo")
    )
    assert "HTTP 302" in _fail(client, AbortError)
    assert not asked_target.asked
    del target


def test_no_connection_names_the_host_and_the_cause_but_not_the_key(connect_to: ConnectTo) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    client, _ = connect_to(lambda _: CALL, base_url=f"http://127.0.0.1:{port}")
    text = _fail(client, RetryLaterError)
    assert f"at 127.0.0.1:{port}: no connection ([Errno 111] Connection refused)" in text
    assert "(request 6)" in text


@pytest.mark.parametrize("base_url", ["api.callkeeper.ru", "ftp://x.ru", "http://", ""])
def test_an_impossible_address_is_refused_at_once(connect_to: ConnectTo, base_url: str) -> None:
    with pytest.raises(AbortError, match=r"source 'main_office': base_url .* is no http"):
        connect_to(lambda _: CALL, base_url=base_url)


def test_an_empty_key_is_refused_at_once(connect_to: ConnectTo) -> None:
    with pytest.raises(AbortError, match="source 'main_office' has no API key: set MY_KEY"):
        connect_to(lambda _: CALL, api_key=" ", key_name="MY_KEY")


@pytest.mark.parametrize("status", [200, 404])
def test_no_rows_found_is_an_empty_day_with_whatever_status(
    connect_to: ConnectTo, status: int
) -> None:
    client, _ = connect_to(lambda _: failure_answer("No rows found", status))
    day = fetch_day(client, DAY)
    assert (len(day), day.call_ids, day.details.requests) == (0, [], 1)


def test_no_rows_found_with_a_servers_error_is_an_error(connect_to: ConnectTo) -> None:
    client, _ = connect_to(lambda _: failure_answer("No rows found", 500))
    assert "HTTP 500" in _fail(client, RetryLaterError)


def test_a_bad_call_is_named_with_its_day(connect_to: ConnectTo) -> None:
    client, source = connect_to(lambda _: calls_answer({"id": 77, "date": "yesterday"}))
    text = _fail(client, UnusableAnswerError)
    assert "getCallsInfo for 2026-01-05" in text
    assert "1 records, of which 1 cannot be used: 1 × it has no time: " in text
    assert "date_timestamp is missing or null, date is unreadable" in text
    assert len(source.asked) == 1


def test_the_account_is_asked_with_nothing_but_the_key(connect_to: ConnectTo) -> None:
    client, source = connect_to(lambda _: json_answer({"paid_till": "2030-07-01T00:00:00+03:00"}))
    paid_till = client.get_user_info().paid_till
    assert paid_till is not None
    assert paid_till.isoformat() == "2030-07-01T00:00:00+03:00"
    assert source.asked[0].method == "getUserInfo"
    assert source.asked[0].parameters == {"api_key": KEY}


def test_a_source_that_echoes_the_key_does_not_leak_it(connect_to: ConnectTo) -> None:
    old_key = "Ab12Cd34Ef56Gh78"
    client, _ = connect_to(lambda a: failure_answer(f"No {a.parameters}", 403), api_key=old_key)
    with pytest.raises(AbortError) as caught:
        client.get_user_info()
    assert "***" in str(caught.value)
    assert old_key not in str(caught.value)


def test_no_log_holds_the_key_not_even_that_of_urllib3(
    connect_to: ConnectTo, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(logging.getLogger("urllib3"), "level", logging.DEBUG)
    client, _ = connect_to(lambda _: CALL)
    fetch_day(client, DAY)
    assert "GET /getCallsInfo?api_key=***&date%5Bfrom%5D=2026-01-04T20%3A59%3A59" in caplog.text
    assert KEY not in caplog.text


def _frames(error: BaseException | None) -> list[dict[str, Any]]:
    trace = error.__traceback__ if error else None
    frames = []
    while trace:
        frames.append(trace.tb_frame.f_locals)
        trace = trace.tb_next
    return frames


def test_no_local_variable_of_the_traceback_shows_the_key(connect_to: ConnectTo) -> None:
    client, _ = connect_to(lambda _: failure_answer("Unknown user", 412))
    with pytest.raises(AbortError) as caught:
        fetch_day(client, DAY)
    assert KEY not in repr(_frames(caught.value)[1:])
