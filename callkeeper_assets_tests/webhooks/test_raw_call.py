"""Payloads as raw calls: CallKeeper's own names are put back, and nothing else is touched."""

import json
from datetime import UTC, datetime
from typing import Any, get_args
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callkeeper_assets.webhooks.payload import Format
from callkeeper_assets.webhooks.raw_call import UnusablePayloadError, build_raw_call

AT = {"date": "2018-12-04 12:14:54"}
MOMENT = datetime(2018, 12, 4, 12, 14, 54, tzinfo=UTC)


def _build(document: object, fields: dict[str, str] | None = None) -> dict[str, Any]:
    built = build_raw_call("json", json.dumps(document).encode(), fields or {})
    call: dict[str, Any] = json.loads(built.payload)
    return call


def test_a_call_keeps_what_was_sent_and_has_id_time_and_event() -> None:
    document = {
        "id": "77",
        "date_timestamp": 1543925694,
        "date": "nonsense",
        "hook_event": "Call is processing",
        "visit_info": {"current": {"src": "yandex"}},
        "duration_min": 1.50,
        "of_tomorrow": [1, {"a": None}],
    }
    body = json.dumps(document).encode()
    built = build_raw_call("json", body, {})
    assert (built.call_id, built.called_at, built.event) == (77, MOMENT, "Call is processing")
    assert json.loads(built.payload) == document


def test_numbers_keep_their_digits() -> None:
    body = b'{"id":1,"date":"2018-12-04 12:14:54","x":1.50,"y":1e999,"z":' + b"9" * 5000 + b"}"
    assert build_raw_call("json", body, {}).payload == body
    mapped = build_raw_call("json", body.replace(b'"id"', b'"my"'), {"id": "my", "site": "z"})
    assert b"9" * 5000 in mapped.payload


def test_the_accounts_names_become_callkeepers_and_are_gone() -> None:
    fields = {
        "id": "my_id",
        "phone1": "phone2",
        "phone2": "phone1",
        "visit_info.current.utm_source": "src",
        "visit_info.current.utm_medium": "mdm",
        "site": "not_sent",
    }
    sent = {"my_id": 5, "id": 6, "phone1": "a", "phone2": "b", "src": "s", "mdm": "m", **AT}
    assert _build(sent, fields) == {
        "id": 5,
        "phone1": "b",
        "phone2": "a",
        "visit_info": {"current": {"utm_source": "s", "utm_medium": "m"}},
        **AT,
    }


def test_a_name_that_is_not_sent_leaves_callkeepers_own() -> None:
    assert _build({"id": 5, "my_id": None, **AT}, {"id": "my_id"})["id"] == 5


def test_a_nested_object_keeps_its_other_values() -> None:
    sent = {"id": 1, "visit_info": {"current": {"src": "x", "mdm": "y"}}, "camp": "c", **AT}
    call = _build(sent, {"visit_info.current.utm_campaign": "camp"})
    assert call["visit_info"] == {"current": {"src": "x", "mdm": "y", "utm_campaign": "c"}}


@pytest.mark.parametrize(
    ("sent", "address"),
    [
        ({"uip": "10.0.0.1"}, "10.0.0.1"),
        ({"ip": "", "udata": {"uip": "10.0.0.2"}}, "10.0.0.2"),
        ({"visit_info": {"udata": {"uip": "10.0.0.3"}}}, "10.0.0.3"),
        ({"ip": "10.0.0.4", "uip": "10.0.0.5"}, "10.0.0.4"),
    ],
)
def test_uip_stands_in_for_a_missing_ip(sent: dict[str, Any], address: str) -> None:
    assert _build({"id": 1, **AT, **sent})["ip"] == address


def test_a_form_and_a_query_are_calls_with_phps_nesting() -> None:
    body = urlencode(
        {
            "id": "1",
            "visit_info[current][src]": "yandex",
            "visit_info[udata][vst]": "2",
            "tags[]": "a",
            "a[b": "c",
            **AT,
        }
    )
    expected = {
        "id": "1",
        "visit_info": {"current": {"src": "yandex"}, "udata": {"vst": "2"}},
        "tags": ["a"],
        "a[b": "c",
        **AT,
    }
    forms: list[Format] = ["form", "query"]
    for form in forms:
        built = build_raw_call(form, f"{body}&tags[]=b".encode(), {})
        assert json.loads(built.payload) == {**expected, "tags": ["a", "b"]}


NO_TIME = "it has no time: date_timestamp is "


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (AT, "it has no call id (id)"),
        (
            {"id": "+74951234567", **AT},
            "its call id (id) is no whole number from 0 to 2^63 - 1 but",
        ),
        ({"id": 2**63, **AT}, "its call id (id) is no whole number from 0 to 2^63 - 1 but a int"),
        ({"id": 1}, f"{NO_TIME}missing or null, date is missing or null"),
        ({"id": 1, "date": "soon"}, f"{NO_TIME}missing or null, date is unreadable"),
        ({"id": 1, "date": "0000-00-00 00:00:00"}, f"{NO_TIME}missing or null, date is zeros"),
        ({"id": 1, "date_timestamp": 10**30}, f"{NO_TIME}too large, date is missing or null"),
        *(
            ({"id": 1, "date": date}, f"{NO_TIME}missing or null, date is unreadable")
            for date in (
                "0001-01-01T00:00:00+03:00",
                "0001-01-01 00:00:00",
                "9999-12-31T23:59:59-03:00",
                "2200-01-01 00:00:00",
            )
        ),
    ],
)
def test_what_can_be_no_call_has_a_reason_without_phone_number(
    document: object, reason: str
) -> None:
    with pytest.raises(UnusablePayloadError) as caught:
        build_raw_call("json", json.dumps(document).encode(), {})
    assert str(caught.value).startswith(reason)
    assert "4951234567" not in str(caught.value)


def test_an_unreadable_body_has_the_receivers_reason() -> None:
    with pytest.raises(UnusablePayloadError, match="it is neither JSON nor a form"):
        build_raw_call("form", b"hello", {})


@given(st.binary(max_size=300), st.sampled_from(get_args(Format)))
def test_any_body_is_a_call_or_refused(body: bytes, form: Format) -> None:
    try:
        built = build_raw_call(form, body, {"id": "a.b", "visit_info.udata.uip": "c"})
    except UnusablePayloadError as error:
        assert str(error)  # noqa: PT017 -- both ways are right
    else:
        assert isinstance(json.loads(built.payload), dict)


@given(
    st.dictionaries(
        st.text("abcdefghij_", min_size=1),
        st.text() | st.integers(-(2**70), 2**70) | st.booleans() | st.none(),
    )
)
def test_names_that_nobody_knows_are_kept(extras: dict[str, Any]) -> None:
    sent = {**{f"x_{name}": value for name, value in extras.items()}, "id": 1, **AT}
    assert _build(sent, {"site": "x_never_sent_by_anybody"}) == sent
