"""What a request brought: every way to send it, every way to get it wrong, and any bytes at all."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callkeeper_assets.webhooks.payload import DEEPEST, Format, read_document, read_value
from callkeeper_assets_tests.webhooks.inbox_of import build_delivery, read_payload

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
CALL: dict[str, Any] = {"id": 77, "hook_event": "Call is over", "site": "пример.рф"}

_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def _dump(document: object) -> bytes:
    return json.dumps(document, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("content_type", "query", "body", "form"),
    [
        (JSON, b"", _dump(CALL), "json"),
        ("application/json; charset=utf-8", b"", b"\xef\xbb\xbf" + _dump(CALL), "json"),
        ("", b"", b"\n " + _dump(CALL), "json"),
        # A sender can set the label and leave the form as it was.
        (JSON, b"", b"id=77&hook_event=Call+is+over&site=%D0%BF", "form"),
        # PHP's client labels any text as a form.
        (FORM, b"", _dump(CALL), "json"),
        (FORM, b"", b"id=77&hook_event=Call+is+over&site=%D0%BF", "form"),
        ("", b"", b"id=77&hook_event=Call%20is%20over", "form"),
        ("", b"id=77&hook_event=Call+is+over", b"", "query"),
        (JSON, b"utm=1", _dump(CALL), "json"),
        (JSON, b"id=1", _dump(CALL), "json"),
        # The only call of a list.
        (JSON, b"", b" [" + _dump(CALL) + b"] ", "json"),
        # A template of a URL, and a body that has nothing.
        *(
            (content_type, b"id=77&hook_event=Call+is+over", hollow, "query")
            for content_type in (JSON, FORM, "")
            for hollow in (b"", b" \r\n", b"{}", b"{ }", b"[]", b"[{}]", b"null", b"\xef\xbb\xbf{}")
        ),
    ],
)
def test_json_form_and_query_are_read_whatever_their_label(
    content_type: str, query: bytes, body: bytes, form: str
) -> None:
    payload = read_payload(content_type, query, body, {})
    kept = query if form == "query" else body
    assert payload == build_delivery(form, kept, "Call is over", 77)  # type: ignore[arg-type]


def test_a_multipart_form_is_a_form() -> None:
    body = (
        b'--xyz\r\nContent-Disposition: form-data; name="id"\r\n\r\n77\r\n'
        b'--xyz\r\nContent-Disposition: form-data; name="hook_event"\r\n\r\nCall is over\r\n'
        b"--xyz--\r\n"
    )
    payload = read_payload("multipart/form-data; boundary=xyz", b"", body, {})
    assert payload == build_delivery("form", body, "Call is over", 77)


@pytest.mark.parametrize(
    ("content_type", "body", "reason"),
    [
        ("", b"", "it is empty"),
        (JSON, b" \n", "it is empty"),
        (JSON, b"hello", "it is not JSON: JSON is malformed: invalid character (byte 0)"),
        (JSON, b'{"id": 1', "it is not JSON: Input data was truncated"),
        (JSON, b'{"id": NaN}', "it is not JSON: JSON is malformed: invalid character (byte 7)"),
        (JSON, b'{"id": -Infinity}', "it is not JSON: "),
        (JSON, rb'{"id": 1, "a": "\ud83d', "it is not JSON: Input data was truncated"),
        (JSON, rb'[{"id": 1, "a": "\ud83d"}, 1]', "it is a list of 2: one call is read of a"),
        (JSON, b'{"id": 1} {"id": 2}', "it is not JSON: JSON is malformed: trailing characters"),
        (JSON, b"[]", "it is JSON, but not an object with names"),
        (JSON, b"[1]", "it is JSON, but not an object with names"),
        (JSON, b'[[{"id": 1}]]', "it is JSON, but not an object with names"),
        (JSON, b'[{"id": 1}, {"id": 2}]', "it is a list of 2: one call is read of a request"),
        (JSON, b'[{"id": 1}', "it is not JSON: Input data was truncated"),
        (JSON, b"[" * 500_000, "it is nested deeper than 64 levels"),
        (JSON, '[{"site": "caf\u00e9"}]'.encode("latin-1"), "it is not UTF-8, at byte 14"),
        (JSON, b'"text"', "it is JSON, but not an object with names"),
        (JSON, b'{"site": "\xff"}', "it is not UTF-8, at byte 10"),
        (JSON, '{"site": "caf\u00e9"}'.encode("latin-1"), "it is not UTF-8, at byte 13"),
        (JSON, b'{"a":' * 65 + b"1" + b"}" * 65, "it is nested deeper than 64 levels"),
        (JSON, b'{"a":' + b"[" * 500_000, "it is nested deeper than 64 levels"),
        (FORM, b"hello", "it is neither JSON nor a form"),
        (FORM, b"site=%FF", "it is not UTF-8, at byte 0"),
        (FORM, b"site=\xff", "it is not UTF-8, at byte 5"),
        (FORM, b"a=1&" * 6000, "it has more than 5000 fields"),
        ("", b"--x\r\n" * 6000, "it has more than 5000 fields"),
    ],
)
def test_what_cannot_be_read_has_a_reason(content_type: str, body: bytes, reason: str) -> None:
    payload = read_payload(content_type, b"", body, {})
    assert payload.body == body
    assert payload.reason is not None
    assert payload.reason.startswith(reason)


@pytest.mark.parametrize(
    ("value", "call_id"),
    [
        (0, 0),
        (2**63 - 1, 2**63 - 1),
        ("  42 ", 42),
        (2**63, None),
        (-1, None),
        (1.0, None),
        (True, None),
        (None, None),
        ("", None),
        ("12a", None),
        ([1], None),
        (int("9" * 400), None),
    ],
)
def test_an_unusable_id_does_not_make_a_body_unreadable(value: object, call_id: int | None) -> None:
    payload = read_payload(JSON, b"", _dump({"id": value}), {})
    assert (payload.call_id, payload.reason) == (call_id, None)


def test_numbers_that_no_computer_holds_are_kept_as_text() -> None:
    body = b'{"id": 5, "x": 1e999, "y": ' + b"9" * 400 + b"}"
    assert read_payload(JSON, b"", body, {}) == build_delivery("json", body, None, 5)


def test_id_and_event_are_found_under_the_accounts_own_names() -> None:
    fields = {"id": "my_id", "hook_event": "kind.name"}
    body = _dump({"my_id": "9", "id": 1, "kind": {"name": "over"}})
    assert read_payload(JSON, b"", body, fields) == build_delivery("json", body, "over", 9)


def test_an_event_is_fit_for_every_store() -> None:
    payload = read_payload(JSON, b"", _dump({"hook_event": "a\0b" + "c" * 500}), {})
    assert payload.event == "ab" + "c" * 198


def test_deep_but_allowed_and_brackets_in_strings_are_read() -> None:
    deep = b'{"a":' * DEEPEST + b"1" + b"}" * DEEPEST
    assert read_payload(JSON, b"", deep, {}).reason is None
    brackets = _dump({"a": '[{"\\' * 200})
    assert read_payload(JSON, b"", brackets, {}).reason is None


def test_a_call_that_is_sent_partly_by_the_query_is_kept_whole() -> None:
    """Of two values of one name the body's counts, but for an id that is none."""
    query = b"id=77&tags=of+the+query&site=a"
    payload = read_payload(JSON, query, b'{"id": null, "site": "b"}', {})
    assert (payload.format, payload.call_id, payload.reason) == ("json", 77, None)
    assert json.loads(payload.body) == {"id": "77", "tags": "of the query", "site": "b"}
    payload = read_payload(FORM, b"key=77", b"site=b", {"id": "key"})
    assert (payload.call_id, json.loads(payload.body)) == (77, {"key": "77", "site": "b"})
    for useless in (b"utm=1", b"%FF=1", b"id=x"):
        assert read_payload(FORM, useless, b"site=b", {}) == build_delivery("form", b"site=b")


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (b"+79161234567", "+79161234567"),
        (b"%2079161234567", "+79161234567"),
        (b"+12125550123", "+12125550123"),
        (b"%2B79161234567", "+79161234567"),
        (b"79161234567", "79161234567"),
        (b"+74950000001^12_+74950000003^34", "+74950000001^12_+74950000003^34"),
        (b"+74950000001^_", "+74950000001^_"),
        (b"2026-01-05T10:00:00+03:00", "2026-01-05T10:00:00+03:00"),
        (b"2026-01-05T10%3A00%3A00+0300", "2026-01-05T10:00:00+0300"),
        (b"2026-01-05T10:00:00+03", "2026-01-05T10:00:00+03"),
        (b"2026-01-05+10:00:00.5+03:00", "2026-01-05 10:00:00.5+03:00"),
        (b"%7B%22fd%22:%222026-01-05T10:00:00+03:00%22%7D", '{"fd":"2026-01-05T10:00:00+03:00"}'),
        # Blanks that are blanks.
        (b"2026-01-05+10:00:00", "2026-01-05 10:00:00"),
        (b"2026-01-05+10:00:00+03+hours", "2026-01-05 10:00:00 03 hours"),
        (b"+1543925694", " 1543925694"),
        (b"+5", " 5"),
        (b"Call+is+over", "Call is over"),
        (b"room_+12", "room_ 12"),
        (b"8+916+123-45-67", "8 916 123-45-67"),
    ],
)
def test_a_plus_that_arrived_as_a_blank_is_a_plus(sent: bytes, read: str) -> None:
    forms: tuple[Format, ...] = ("form", "query")
    for form in forms:
        document = read_document(form, b"id=+3432600034&value=" + sent)
        assert read_value(document, "value") == read
        assert read_value(document, "id") == " 3432600034"


@given(st.text(max_size=20), st.binary(max_size=200), st.binary(max_size=200))
def test_any_bytes_are_read_or_have_a_reason(content_type: str, query: bytes, body: bytes) -> None:
    payload = read_payload(content_type, query, body, {"id": "a.b", "hook_event": "c"})
    assert payload.body in (query, body) or payload.call_id is not None
    assert payload.reason is None or payload.reason


@given(st.dictionaries(st.text(), _values, max_size=6))
def test_every_json_object_is_readable(document: dict[str, Any]) -> None:
    assert read_payload(JSON, b"", _dump(document), {}).reason is None
