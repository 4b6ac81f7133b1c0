"""What a receiver may write: masked by its source's rule, whatever the body came as."""

import json
from urllib.parse import urlencode

import pytest

from callkeeper_assets.privacy.numbers import has_number
from callkeeper_assets.privacy.rewriting import Eraser, Protector
from callkeeper_assets.privacy.rule import Rule
from callkeeper_assets.webhooks.inbox import erase_body, protect_delivery
from callkeeper_assets.webhooks.payload import Delivery
from callkeeper_assets_tests.webhooks.inbox_of import build_delivery, read_payload

NUMBER = "79161234567"
FIELDS = {"phone2": "who"}
PROTECTOR = Protector(Rule("mask", "mask", "mask", "mask", "mask"), FIELDS)
CALL = {"id": 5, "hook_event": f"from {NUMBER}", "who": f"+{NUMBER}", "uip": "203.0.113.17"}


def receive(body: bytes, content_type: str = "application/json") -> Delivery:
    """Read a body as the receiver does, and protect it."""
    return protect_delivery(read_payload(content_type, b"", body, FIELDS), PROTECTOR, FIELDS)


@pytest.mark.parametrize(
    "body",
    [
        json.dumps(CALL).encode(),
        b"\xef\xbb\xbf" + json.dumps(CALL).encode(),
        urlencode(CALL).encode(),
        urlencode({"id": 5, "visit_info[udata][uip]": "203.0.113.17", "who": NUMBER}).encode(),
        urlencode({"id": 5, "inner": json.dumps(CALL), "who": NUMBER}).encode(),
    ],
)
def test_a_readable_body_is_kept_as_json_without_numbers(body: bytes) -> None:
    payload = receive(body, "")
    assert (payload.format, payload.call_id, payload.reason) == ("json", 5, None)
    assert not has_number(payload.body.decode(), NUMBER)
    assert b"203.0.113.17" not in payload.body
    assert payload.event is None or not has_number(payload.event, NUMBER)
    again = protect_delivery(build_delivery(payload.format, payload.body), PROTECTOR, FIELDS)
    assert again.body == payload.body


@pytest.mark.parametrize(
    "body",
    [
        f'{{"who": "+{NUMBER}"'.encode(),
        "+7 (916) 123-45-67 и адрес 203.0.113.17".encode(),
        f"+{NUMBER}".encode("utf-16"),
        b'{"who": "\\u0037\\u0039161234567", ',
        b"\xff+79161234567",
        ("[" * 100 + NUMBER).encode(),
    ],
)
def test_an_unreadable_body_has_nothing_that_looks_like_a_number(body: bytes) -> None:
    payload = receive(body)
    assert payload.reason is not None
    for encoding in ("utf-8", "utf-16"):
        assert not has_number(payload.body.decode(encoding, "replace"), NUMBER)
    assert b"203.0.113.17" not in payload.body
    assert b"916" not in payload.body.replace(b"\0", b"")


def test_a_body_is_written_anew_under_a_rule_and_kept_as_received_without() -> None:
    body = b'{ "id": 5,  "attempt": 1.0, "phone2": "+79161234567", "phone2": null }'
    assert receive(body).body == b'{"id":5,"attempt":1.0,"phone2":null}'
    assert protect_delivery(read_payload("", b"", body, {}), Protector(Rule()), {}).body == body
    keeping = protect_delivery(read_payload("", b"", b"a=79161234567", {}), Protector(Rule()), {})
    assert (keeping.format, keeping.body) == ("form", b"a=79161234567")


def test_a_forgotten_calls_body_is_kept_without_the_person() -> None:
    form, body = erase_body("form", urlencode(CALL).encode(), Eraser(FIELDS), "client")
    assert form == "json"
    assert json.loads(body) == {"id": "5", "hook_event": "from ***", "who": None, "uip": None}
    assert erase_body(form, body, Eraser(FIELDS), "client") == (form, body)
    assert erase_body("json", f"+{NUMBER}, x".encode(), Eraser(), "client") == ("json", b"***, x")
