"""What is no call among a day's calls: it is set aside with the reason, and the others come.

One record never ends the day that it came in, whatever it is; only most of them do.
"""

import json
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from callkeeper_assets.callkeeper.apis import read_calls, read_page
from callkeeper_assets.callkeeper.bodies import AnswerProblem
from callkeeper_assets.callkeeper.keys import ELSEWHERE, KeyedCalls
from callkeeper_assets.callkeeper.records import ApiName, RetryLaterError, UnusableAnswerError
from callkeeper_assets.raw import ids
from callkeeper_assets_tests.callkeeper.conftest import ConnectTo, fetch_day, payloads_of
from callkeeper_assets_tests.callkeeper.fake_source import Answer, Asked, calls_answer, json_answer
from callkeeper_assets_tests.callkeeper.keying import key_payloads
from callkeeper_assets_tests.callkeeper.test_unified import DAY, START, call, read_path
from callkeeper_assets_tests.extent import examples

# A number that must be in no reason, wherever the source puts it.
PHONE = "79161234567"
GOOD = b'{"id": 1, "date_timestamp": 5}'
NONE = "it has no id: id is "
NO_TIME = "it has no time: date_timestamp is "

WRONG: list[tuple[str, str]] = [
    ('{"id": null, "date_timestamp": 5}', NONE + "missing or null"),
    ('{"date_timestamp": 5}', NONE + "missing or null"),
    ("{}", NONE + "missing or null"),
    ('{"id": 12.0, "date_timestamp": 5}', NONE + "a number with a point"),
    ('{"id": 1e3, "date_timestamp": 5}', NONE + "a number with a point"),
    ('{"id": 1e999, "date_timestamp": 5}', NONE + "a number with a point"),
    ('{"id": -1, "date_timestamp": 5}', NONE + "negative"),
    ('{"id": 9223372036854775808, "date_timestamp": 5}', NONE + "too large"),
    ('{"id": 123456789012345678901234567890, "date_timestamp": 5}', NONE + "too large"),
    ('{"id": true, "date_timestamp": 5}', NONE + "true or false"),
    ('{"id": "", "date_timestamp": 5}', NONE + "empty"),
    (f'{{"id": "tel. {PHONE}", "date_timestamp": 5}}', NONE + "unreadable"),
    (f'{{"id": {{"phone2": "{PHONE}"}}, "date_timestamp": 5}}', NONE + "an object"),
    (f'{{"id": ["{PHONE}"], "date_timestamp": 5}}', NONE + "a list"),
    ('{"id": 77}', NO_TIME + "missing or null, date is missing or null"),
    (
        '{"id": 77, "date": null, "status_code": 2}',
        NO_TIME + "missing or null, date is missing or null",
    ),
    (
        '{"id": 77, "date_timestamp": 0, "date": "0000-00-00 00:00:00"}',
        NO_TIME + "0, date is zeros",
    ),
    (
        f'{{"id": 77, "date_timestamp": "soon", "date": "{PHONE}"}}',
        NO_TIME + "unreadable, date is unreadable",
    ),
    ('{"id": 77, "date_timestamp": -5, "date": ""}', NO_TIME + "negative, date is empty"),
    (
        '{"id": 77, "date_timestamp": 1e18, "date": "9999-12-31T23:59:59-12:00"}',
        NO_TIME + "a number with a point, date is unreadable",
    ),
    (
        '{"id": 77, "date_timestamp": 253402300799, "date": "2200-01-01 00:00:00"}',
        NO_TIME + "too large, date is unreadable",
    ),
    (
        '{"id": 77, "date": "0001-01-01T00:00:00+14:00"}',
        NO_TIME + "missing or null, date is unreadable",
    ),
    ("null", "it is no object but null"),
    ("true", "it is no object but true"),
    (PHONE, "it is no object but a number"),
    (f'"{PHONE}"', "it is no object but a text"),
    (f'["{PHONE}"]', "it is no object but a list"),
    ('{"id": 77, "date_timestamp": 5, "city": "Моск\nва"}', "it is no JSON"),
    ('{"id": 77, "date_timestamp": 5, "attempt": 01}', "it is no JSON"),
    ('{"id": 77, "date_timestamp": 5, "attempt": NaN}', "it is no JSON"),
    ('{"id": 77, "date_timestamp": 5, "tags": ' + "[" * 3000 + "]" * 3000 + "}", "it is no JSON"),
]


def _read(body: bytes) -> KeyedCalls:
    answer = read_calls(body)
    assert isinstance(answer, KeyedCalls), answer
    return answer


def _reasons(calls: KeyedCalls) -> list[str]:
    return [one.reason for one in calls.unusable.values()]


@pytest.mark.parametrize("shape", ["[%s]", '{"result": [%s], "x": {"a": [1]}}'])
@pytest.mark.parametrize(("record", "reason"), WRONG, ids=[text[:40] for text, _ in WRONG])
def test_a_record_that_is_no_call_is_set_aside_with_the_reason_and_the_others_come(
    shape: str, record: str, reason: str
) -> None:
    """Before, between and behind the good ones; as received, and its values are in no reason."""
    other = '{"id": 2, "date_timestamp": 6}'
    records = (
        (record, GOOD.decode(), other),
        (GOOD.decode(), record, other),
        (GOOD.decode(), other, record),
    )
    for each in records:
        found = _read((shape % " , ".join(each)).encode())
        assert {call_id: epoch for call_id, (epoch, _) in found.items()} == {1: 5, 2: 6}
        assert [one.payload.decode() for one in found.unusable.values()] == [record]
        assert _reasons(found) == [reason]
        assert PHONE not in reason


def test_a_record_keeps_the_id_that_can_be_read() -> None:
    found = _read(b'[{"id": "77", "date": null}, {"id": null, "date_timestamp": 5}]')
    assert [one.call_id for one in found.unusable.values()] == [77, None]


def test_half_of_an_emoji_is_legal_and_its_call_comes() -> None:
    """A text cut inside an emoji; msgspec refuses the whole answer for it."""
    body = b'{"result": [{"id": 3, "date_timestamp": "7", "tags": "a\\ud83d"}, %s]}' % GOOD
    assert set(_read(body)) == {1, 3}
    row = json.dumps(call(5, tags="x")).replace('"x"', '"\\ud83d"')
    for text in (f"[{row}]", f'{{"inbound": {{}}, "payload": [{row}]}}'):
        page = read_page(text.encode())
        assert not isinstance(page, AnswerProblem)
        assert (set(page.calls), page.rows) == ({5}, 1)


@pytest.mark.parametrize("length", [0, 200_000], ids=["short", "long"])
@pytest.mark.parametrize("odd", [b"\xcc\xee", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80"])
def test_a_record_that_is_not_utf_8_does_not_take_the_others_with_it(
    odd: bytes, length: int
) -> None:
    filled = b'{"id": 3, "date_timestamp": 7, "city": "%s"}' % (b"\xd0\xb0" * length)
    found = _read(b'[%s, {"id": 2, "date_timestamp": 6, "city": "%s"}, %s]' % (GOOD, odd, filled))
    assert set(found) == {1, 3}
    [record] = found.unusable.values()
    assert record.reason == "its text is not UTF-8"
    assert json.loads(record.payload)["city"] == odd.decode(errors="replace")


def test_a_long_answer_imports_nothing_to_see_that_it_is_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`callkeeper check` asks for a day, and waited 0.2 s for pyarrow and pandas."""
    monkeypatch.delitem(sys.modules, "pyarrow", raising=False)
    body = b'[%s, {"id": 2, "date_timestamp": 6, "city": "%s"}]' % (GOOD, b"\xd0\xb0" * 200_000)
    for end, ids_found in ((b"", {1, 2}), (b"\xcc", {1})):
        assert set(_read(body.replace(b'"}]', end + b'"}]'))) == ids_found
    assert "pyarrow" not in sys.modules


@pytest.mark.parametrize(
    "body",
    [
        b'[{"id": 1, "date_timestamp": 5, "a": "\\ud83d"}, {"id": 2, "da',
        b'{"result": [{"id": 1, "date_timestamp": 5, "a": "\\ud83d"}]',
        b'{"result": [{"id": 1, "date_timestamp": 5, "a": "\\ud83d"}, {"id": 2, "a": "]}',
        b'[{"id": 1, "date_timestamp": 5, "a": "\\ud83d"}] <b>Fatal error</b>',
        b'[{"id": 1, "date_timestamp": 5, "a": "\\ud83d"]}',
    ],
)
def test_an_answer_that_was_cut_is_not_taken_for_one_with_an_odd_record(body: bytes) -> None:
    problem = read_calls(body)
    assert isinstance(problem, AnswerProblem)
    assert problem.error is RetryLaterError


anything: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(max_size=12)
    | st.sampled_from(["0000-00-00 00:00:00", "9999-12-31", "+0300", "callback", "1", "import"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("id", "date", "date_timestamp", "cbCallId", "ctCallId", "universalId"),
                    *("callTime", "localDate", "timezoneOffset", "cbOrderDate", "serviceType"),
                    *("status", "result"),
                ]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=examples(20), suppress_health_check=list(HealthCheck))
@given(records=st.lists(anything, max_size=5))
@pytest.mark.parametrize("api", ["callkeeper", "ckct"])
def test_nothing_that_json_can_say_ends_an_answer_or_is_lost(
    api: ApiName, records: list[Any]
) -> None:
    payloads = [json.dumps(one).encode() for one in records]
    found = key_payloads(api, payloads)
    ids = {call_id: bytes(raw) for call_id, (_, raw) in found.items()}
    assert set(ids.values()) | set(found.unusable) <= set(payloads)
    lost = set(payloads) - set(ids.values()) - set(found.unusable)
    # A call that comes twice counts once: what is missing is another record of one that is there.
    assert all(set(key_payloads(api, [one])) <= set(ids) for one in lost)
    assert all(0 < epoch < 2**38 for epoch, _ in found.values())


def _answering(*records: object) -> Callable[[Asked], Answer]:
    return lambda _: calls_answer(*records)  # type: ignore[arg-type]


def test_only_a_day_of_which_most_is_unusable_fails(connect_to: ConnectTo) -> None:
    good = [{"id": n, "date_timestamp": START + n} for n in (1, 2)]
    wrong = [{"id": None, "phone2": PHONE, "n": n} for n in range(3)]
    client, _ = connect_to(_answering(*good, *wrong[:2]))
    day = fetch_day(client, DAY)
    assert (day.call_ids, len(day.unusable)) == ([1, 2], 2)
    client, _ = connect_to(_answering(*good, *wrong))
    with pytest.raises(UnusableAnswerError) as caught:
        fetch_day(client, DAY)
    assert "5 records, of which 3 cannot be used: 3 × it has no id: id is missing" in str(
        caught.value
    )
    assert PHONE not in str(caught.value)


def test_a_record_in_two_overlapping_answers_counts_once(connect_to: ConnectTo) -> None:
    """A refused window is asked for in halves, each a second wider than it is."""
    record = {"id": None, "phone2": PHONE}

    def answer(asked: Asked) -> Answer:
        if asked.end - asked.start > 50_000:
            return Answer(b"", 413)
        times = [START + 10 * n for n in range(8_640)]
        inside = [
            {"id": n + 1, "date_timestamp": at}
            for n, at in enumerate(times)
            if asked.start <= at <= asked.end
        ]
        return calls_answer(*inside, record)

    client, source = connect_to(answer, check_answers_from=10_000)
    day = fetch_day(client, DAY)
    assert len(source.asked) == 3
    assert len(day) == 8_640
    assert [json.loads(one.payload) for one in day.unusable] == [record]


def test_a_page_of_unusable_records_does_not_end_a_list(connect_to: ConnectTo) -> None:
    """The end of a list is known by a page that brings nothing new."""
    rows: list[object] = [call(1), call(2), {"n": 1}, {"n": 2}, call(3), call(4)]

    def answer(asked: Asked) -> Answer:
        page, start, end = read_path(asked)
        if end - start > 100:
            return Answer(b"", 413)
        found = rows[page * 2 : page * 2 + 2] if start <= START <= end else []
        return json_answer(
            {"inbound": {}, "info": {"totalLength": 6 if found else 0}, "payload": found}
        )

    client, _ = connect_to(answer, api="ckct")
    day = fetch_day(client, DAY)
    assert (day.call_ids, len(day.unusable)) == ([1, 2, 3, 4], 2)


def _key(*records: dict[str, object]) -> KeyedCalls:
    return key_payloads("ckct", [json.dumps(one).encode() for one in records])


def _at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


@pytest.mark.parametrize("call_time", ["", "0000-00-00 00:00:00", None, "-", 0])
@pytest.mark.parametrize(
    ("local", "offset", "ordered", "expected"),
    [
        ("2026-01-05 15:00:00", "+0300", "", "2026-01-05 12:00:00"),
        ("2026-01-05 15:00:00", "+05:45", "", "2026-01-05 09:15:00"),
        ("2026-01-05 01:00:00", "-1200", "", "2026-01-05 13:00:00"),
        ("2026-01-05 15:00:00", "+1400", "", "2026-01-05 01:00:00"),
        ("2026-01-05T15:00:00+02:00", "+0300", "", "2026-01-05 13:00:00"),
        # What no clock has, `+0020` above all, tells nothing; nor do zeros.
        ("2026-01-05 15:00:00", "+0020", "2026-01-05 11:00:00", "2026-01-05 11:00:00"),
        ("2026-01-05 15:00:00", "+1415", "2026-01-05 11:00:00", "2026-01-05 11:00:00"),
        ("2026-01-05 15:00:00", "-1215", "2026-01-05 11:00:00", "2026-01-05 11:00:00"),
        ("2026-01-05 15:00:00", "+0075", "2026-01-05 11:00:00", "2026-01-05 11:00:00"),
        ("2026-01-05 15:00:00", "", "2026-01-05 11:00:00", "2026-01-05 11:00:00"),
        ("2026-01-05 15:00:00", 300, "2026-01-05 11:00:00", "2026-01-05 11:00:00"),
        ("0000-00-00 00:00:00", "+0300", "2026-01-05 11:00:00", "2026-01-05 11:00:00"),
        ("", "+0300", "2026-01-05 11:00:00", "2026-01-05 11:00:00"),
    ],
)
def test_a_call_without_call_time_has_the_day_of_its_local_date_then_of_its_order(
    call_time: object, local: object, offset: object, ordered: object, expected: str
) -> None:
    found = _key(
        call(5, callTime=call_time, localDate=local, timezoneOffset=offset, cbOrderDate=ordered)
    )
    assert [epoch for epoch, _ in found.values()] == [_at(expected)]
    assert not found.unusable


def test_a_call_with_call_time_is_not_moved_by_the_clients_clock() -> None:
    found = _key(call(5, localDate="2020-01-01 00:00:00", timezoneOffset="+0300"))
    assert found[5][0] == START


def test_a_call_that_nothing_tells_the_time_of_is_set_aside() -> None:
    found = _key(
        call(5, callTime="", localDate="2026-01-05 15:00:00", timezoneOffset="+0020"),
        call(6, callTime="0000-00-00 00:00:00", localDate="", cbOrderDate="0000-00-00 00:00:00"),
    )
    assert not found
    assert _reasons(found) == [
        (
            "it has no time: callTime is empty, localDate is without a believable timezoneOffset "
            "(unreadable), cbOrderDate is missing or null"
        ),
        "it has no time: callTime is zeros, localDate is empty, cbOrderDate is zeros",
    ]
    assert [one.call_id for one in found.unusable.values()] == [5, 6]


def _one_page(rows: list[dict[str, object]]) -> Callable[[Asked], Answer]:
    end = json_answer({"inbound": {"error": "Incorrect page is set"}, "payload": []})
    return lambda asked: end if read_path(asked)[0] else json_answer(rows)


def test_a_derived_time_outside_what_was_asked_for_is_reported_and_not_dropped(
    connect_to: ConnectTo,
) -> None:
    """The source counts the call to this day by a time that it does not tell."""
    rows = [
        call(1, callTime="", cbOrderDate="2026-03-02 10:00:00"),
        call(2, callTime="", cbOrderDate="2026-02-20 10:00:00"),
        # A second beside the window, as any call may come: its own day has it.
        call(3, callTime="", cbOrderDate="2026-03-01 20:59:59"),
    ]
    client, _ = connect_to(_one_page(rows), api="ckct")
    day = fetch_day(client, DAY)
    assert day.call_ids == [1]
    assert [(one.key, one.reason) for one in day.unusable] == [(2, ELSEWHERE)]
    # It is a call, if not of that day: alone it does not fail the day.
    client, _ = connect_to(_one_page(rows[1:2]), api="ckct")
    day = fetch_day(client, DAY)
    assert (day.call_ids, len(day.unusable)) == ([], 1)


def test_a_record_with_a_time_of_its_own_takes_the_place_of_a_derived_one(
    connect_to: ConnectTo,
) -> None:
    rows = [call(1, callTime="", cbOrderDate="2026-02-20 10:00:00"), call(1)]
    client, _ = connect_to(_one_page(rows), api="ckct")
    day = fetch_day(client, DAY)
    assert (day.call_ids, day.unusable) == ([1], [])


def _imported(universal_id: object, duration: int = 0) -> dict[str, object]:
    return call(0, serviceType="import", universalId=universal_id, duration=duration)


def test_imports_whose_universal_ids_end_alike_are_two_calls() -> None:
    found = _key(_imported("12000000000000345"), _imported("22000000000000345"))
    assert len(found) == 2
    assert all(5 * 10**15 <= one <= 2**53 - 1 for one in found)


def test_a_universal_id_is_the_same_as_number_as_text_and_with_zeros_before_it() -> None:
    digits = "23423423434434234567890"
    found = _key(_imported(int(digits)), _imported(digits), _imported(f" 00{digits} "))
    assert len(found) == 1
    assert list(found.universal_ids.values()) == [digits]


def test_ids_of_callbacks_and_call_tracking_stay_and_what_does_not_fit_is_hashed() -> None:
    largest = 10**15
    found = _key(
        call(7),
        call(4 * largest - 1),
        call(4 * largest),
        call(0, serviceType="calltracking", ctCallId=largest - 1),
        call(0, serviceType="calltracking", ctCallId=largest, universalId="99"),
    )
    ids = list(found)
    assert [ids[0], ids[1], ids[3]] == [7, 4 * largest - 1, 5 * largest - 1]
    assert min(ids[2], ids[4]) >= 5 * largest
    # The id of a stored call must never change: these are for ever.
    assert list(_key(_imported("12000000000000345"))) == [5_895_985_447_020_459]


@pytest.mark.parametrize(
    ("universal_id", "shown"),
    [
        *(("A17", "unreadable"), ("", "empty"), (None, "missing or null"), (-5, "negative")),
        *((1.5, "a number with a point"), ("9" * 41, "unreadable"), (0, "0"), ("٣", "unreadable")),
    ],
)
def test_an_import_without_a_usable_universal_id_is_set_aside(
    universal_id: object, shown: str
) -> None:
    found = _key(call(3), _imported(universal_id))
    assert list(found) == [3]
    assert _reasons(found) == [f"it has no id: none of its service's, universalId is {shown}"]


def test_of_two_calls_whose_hash_collides_the_lesser_keeps_it_in_any_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Which one came first must not decide, within an answer or between two."""
    monkeypatch.setattr(ids, "_HASHES", 1)
    rows = [
        _imported(one) for one in ("12000000000000345", "9000000000000345", "22000000000000345")
    ]
    for order in (rows, rows[::-1], rows[1:] + rows[:1]):
        together = _key(*order)
        apart = KeyedCalls()
        for one in order:
            apart.add(_key(one))
        for found in (together, apart):
            assert [json.loads(bytes(raw))["universalId"] for _, raw in found.values()] == [
                "9000000000000345"
            ]
            assert _reasons(found) == ["the id made of its universalId is that of another call"] * 2


def test_the_same_import_twice_is_one_call_and_no_collision() -> None:
    found = KeyedCalls()
    found.add(_key(_imported("12000000000000345", duration=1)))
    found.add(_key(_imported(12000000000000345, duration=2)))
    [(_, raw)] = found.values()
    assert json.loads(bytes(raw))["duration"] == 2
    assert not found.unusable


def test_a_day_keeps_its_calls_whatever_stands_between_them(connect_to: ConnectTo) -> None:
    """All the odd records of this file in one answer of either API."""
    good = b",".join(b'{"id": %d, "date_timestamp": %d}' % (n, START + n) for n in range(1, 60))
    odd = ",".join(text for text, _ in WRONG).encode()
    client, _ = connect_to(lambda _: Answer(b'{"result": [%s, %s]}' % (odd, good)))
    day = fetch_day(client, DAY)
    assert day.call_ids == list(range(1, 60))
    assert len(day.unusable) == len({text for text, _ in WRONG})
    assert day.day == date(2026, 3, 2)
    assert msgspec.json.decode(payloads_of(day)[0]) == {"id": 1, "date_timestamp": START + 1}
