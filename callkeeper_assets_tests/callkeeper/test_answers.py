"""What each shape of an answer is taken for."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from callkeeper_assets.callkeeper.apis import read_calls, read_user_info
from callkeeper_assets.callkeeper.bodies import AnswerProblem
from callkeeper_assets.callkeeper.keys import KeyedCalls
from callkeeper_assets.callkeeper.records import (
    AbortError,
    RetryLaterError,
    UnusableAnswerError,
    UserInfo,
)

MOSCOW = ZoneInfo("Europe/Moscow")
NOON = 1_767_268_800


def _problem(body: bytes) -> AnswerProblem:
    answer = read_calls(body)
    assert isinstance(answer, AnswerProblem), answer
    return answer


def _times(body: bytes) -> dict[int, int]:
    answer = read_calls(body)
    assert not isinstance(answer, AnswerProblem), answer
    return {call_id: epoch for call_id, (epoch, _) in answer.items()}


@pytest.mark.parametrize(
    "body",
    [
        b'{"result": []}',
        b"[]",
        b"\xef\xbb\xbf[]",
        b'{"status":"fail","reason":"No rows found"}',
        b'[{"status":"fail","reason":"No rows found!"}]',
        b'{"result":[{"status":"fail","reason":"no rows found"}]}',
        b'{"result":{"status":"fail","reason":"No rows found"}}',
    ],
)
def test_only_an_empty_list_and_no_rows_found_are_an_empty_period(body: bytes) -> None:
    found = read_calls(body)
    assert isinstance(found, KeyedCalls)
    assert (found, found.unusable) == ({}, {})


def test_a_list_of_which_php_took_members_out_is_a_list() -> None:
    body = b'{"result": {"0": {"id":1,"date_timestamp":5}, "2": {"id":3,"date_timestamp":7}}}'
    assert _times(body) == {1: 5, 3: 7}
    assert _times(b'{"result": {"7": {"id":3,"date_timestamp":7}}}') == {3: 7}
    assert _times(b'{"0": {"id":1,"date_timestamp":5}, "2": {"id":3,"date_timestamp":7}}') == {
        1: 5,
        3: 7,
    }
    for none in (b'{"result": {"0": %s}}', b'{"0": %s}'):
        assert _times(none % b'{"status": "fail", "reason": "no rows found"}') == {}
    other = _problem(b'{"result": {"a": {"id":1,"date_timestamp":5}}}')
    assert "neither calls nor a failure" in other.came_back


@pytest.mark.parametrize("shape", ["%s", "[%s]", '{"result": [%s]}', '{"result": %s}'])
@pytest.mark.parametrize(
    ("reason", "remedy"),
    [
        ("Unauthorized host!", "allowed hosts"),
        ("Not the correct key api", "Check the key"),
        ("Key 'apiak' is not defined!", "base_url"),
        ("Unknown user", "Check the key"),
        ("No rows found for this key", "ask CallKeeper's support"),
        ("", "neither calls nor a failure"),
    ],
)
def test_a_failure_body_with_status_200_is_a_permanent_failure(
    shape: str, reason: str, remedy: str
) -> None:
    failure = '{"status": "fail", "reason": "REASON"}'.replace("REASON", reason)
    problem = _problem((shape % failure).encode())
    assert problem.error is AbortError
    assert problem.retries == 0
    assert remedy in problem.remedy or not reason
    assert (reason or "fail") in problem.came_back.replace('"', "'")


def test_a_failure_that_names_the_size_asks_for_halving() -> None:
    problem = _problem(b'{"status":"fail","reason":"The period is too long"}')
    assert problem.retries_before_halving == 0


@pytest.mark.parametrize(
    "body", [b'{"result":[{"id":1,"da', b'[{"id":1}', b'[{"a":"\xd0', b"", b" \n"]
)
def test_cut_json_and_an_empty_body_are_cut_answers(body: bytes) -> None:
    problem = _problem(body)
    assert problem.error is RetryLaterError
    assert problem.retries_before_halving == 1


def test_html_is_a_page_whose_beginning_is_shown_redacted() -> None:
    page = "<html><body>Работы на сервере, +7 (495) 123-45-67" + "x" * 500
    problem = _problem(page.encode())
    assert problem.error is RetryLaterError
    assert "Работы на сервере, ***" in problem.came_back
    assert len(problem.came_back) < 250


def test_php_dying_of_a_large_answer_asks_for_halving() -> None:
    body = b"<br /><b>Fatal error</b>: Allowed memory size of 134217728 bytes exhausted"
    assert _problem(body).retries_before_halving == 0


@pytest.mark.parametrize("body", [b"{}", b'{"result": null}', b'{"result": 5}', b'{"rows": []}'])
def test_json_of_unknown_shape_is_bad_data(body: bytes) -> None:
    problem = _problem(body)
    assert problem.error is UnusableAnswerError
    assert "neither calls nor a failure" in problem.came_back


def test_ids_and_times_come_as_numbers_or_strings_and_date_stands_in_for_the_timestamp() -> None:
    body = b"""[
        {"id": 1, "date_timestamp": 1767268800, "date": "2020-01-01 00:00:00"},
        {"id": "2", "date_timestamp": "1767268800"},
        {"id": 3, "date_timestamp": " ", "date": "2026-01-01 12:00:00"},
        {"id": 4, "date_timestamp": null, "date": "2026-01-01T15:00:00+03:00"},
        {"id": 5, "date_timestamp": 0, "date": "2026-01-01 12:00:00"},
        {"id": 6, "date_timestamp": 1767268800.5, "date": 7}
    ]"""
    assert _times(body) == dict.fromkeys(range(1, 7), NOON)


def test_the_last_of_two_records_with_one_id_wins() -> None:
    assert _times(b'[{"id":1,"date_timestamp":5},{"id":"1","date_timestamp":7}]') == {1: 7}


@pytest.mark.parametrize("shape", ["%s", "[%s]", '{"result": %s}'])
def test_the_account_is_read_in_every_shape(shape: str) -> None:
    body = (shape % '{"paid_till": "2018-07-01T00:00:00+03:00"}').encode()
    assert read_user_info(body, MOSCOW) == UserInfo(datetime(2018, 6, 30, 21, tzinfo=UTC))


# The zero date of MySQL, as PHP's DateTime writes it.
PHP_ZERO = b'"-0001-11-30 00:00:00"'


def test_paid_till_may_be_missing_its_offset_or_its_value_but_not_be_nonsense() -> None:
    info = read_user_info(b'{"paid_till": "2018-07-01 00:00:00"}', MOSCOW)
    assert isinstance(info, UserInfo)
    assert info.paid_till is not None
    assert info.paid_till.utcoffset() == timedelta(hours=3)
    for none in (b'""', b"null", b'"0000-00-00 00:00:00"', b'"0000-00-00"', b"0", b'"0"', PHP_ZERO):
        assert read_user_info(b'{"paid_till": %s}' % none, MOSCOW) == UserInfo(None)
    nonsense = read_user_info(b'{"paid_till": "never"}', MOSCOW)
    assert isinstance(nonsense, AnswerProblem)
    assert "paid_till 'never', which is no time" in nonsense.came_back


def test_the_accounts_failure_is_reported_by_its_reason() -> None:
    problem = read_user_info(b'[{"status":"fail","reason":"Unauthorized host!"}]', MOSCOW)
    assert isinstance(problem, AnswerProblem)
    assert problem.error is AbortError
    assert "allowed hosts" in problem.remedy
