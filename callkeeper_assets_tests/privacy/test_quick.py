"""The quick way of applying a rule gives what the close one gives, whatever stands wherever.

It may leave a call to the close one; usual calls it may not, or a load would take too long.
"""

import json
from typing import Any, Final

import pytest

from callkeeper_assets.privacy import quick
from callkeeper_assets.privacy.fields import build_kinds
from callkeeper_assets.privacy.rewriting import Protector, decode
from callkeeper_assets.privacy.rule import Action, Rule
from callkeeper_assets.raw.fields import FIELDS_BY_PATH
from callkeeper_assets_tests.extent import share
from callkeeper_assets_tests.privacy.number_corpus import list_lookalikes, list_writings, put
from callkeeper_assets_tests.privacy.test_number_corpus import KEY, RULES
from callkeeper_assets_tests.warehouse.raw_days import call

_ADDRESS: Final = "203.0.113.7"
_BROWSER: Final = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/126.0.0.0 Safari/537.36"
# Written plainly, as an answer may have it; each is JSON.
_ODD: Final = (
    *("null", "true", "0", "-7", "7.5", "79161234567.0", "7.0000000079161234567", "1e9", "1e400"),
    *("123456789012345678901234567890", '""', '" "', '"|"', '"{"', '"[1]"', '"{\\"a\\":1}"'),
    *(
        '"[\\"+79161234567\\"]"',
        "[]",
        "{}",
        '["a","+79161234567"]',
        '[["79161234567"]]',
        "[1,null]",
    ),
    *('{"+79161234567":1}', '{"a":"+79161234567"}', '[{"a":"79161234567"}]', '"x|79161234567|"'),
    *('"tel=79161234567"', '"\\\\u002b79161234567"', '"a\\n79161234567"', '"7916\\u00ad1234567"'),
    *('"+79161234567"', '"see 8 (916) 123-45-67"', '"\\u0667\\u0669161234567"', '"%2B79161234567"'),
    *(
        '"&#43;79161234567"',
        '"tel&colon;79161234567"',
        '"\\ud83d 79161234567"',
        '"wa.me/79995550147"',
    ),
)
_ADDRESSES: Final = (
    *(_ADDRESS, f"::ffff:{_ADDRESS}", "::ffff:cb00:7107", "::FfFf:cb00:7107", "2002:cb00:7107::1"),
    *("0:0:0:0:0:fFfF:cb00:7107", "0000:0000:0000:0000:0000:0000:cb00:7107", f"[{_ADDRESS}]:80"),
    *("2002:cb00:7107:0:0:0:0:1", f"::{_ADDRESS}", "203%2E0%2E113%2E7", "::ffff%3Acb00%3A7107"),
    *("203&#46;0&#46;113&#46;7", "203&period;0&period;113&period;7", f"ip={_ADDRESS};", "1.2.3.4"),
    *(
        f"1{_ADDRESS}",
        f"{_ADDRESS}.9",
        "126.0.0.0",
        _BROWSER,
        "2001:db8::7",
        "::1",
        "::",
        "12:30:45",
    ),
)


def _compare(protector: Protector, payload: bytes) -> bool:
    """Hold both ways against each other; return whether the quick one did it."""
    close = protector._protect_closely(decode(payload))
    given = protector._quick.protect(payload)
    assert given in (None, close), payload
    assert protector.protect(payload) == close
    return given is not None


def _put_plainly(document: dict[str, Any], path: str, text: str) -> bytes:
    """Put JSON into a document as it is written."""
    whole = json.dumps(put(document, path, "put here"))
    return whole.replace('"put here"', text).encode("utf-8", "surrogatepass")


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_writings_in_every_field(rule: Rule) -> None:
    """Known values, too: the second call has what the first one had."""
    protector = Protector(rule)
    texts = [text for _, _, text in list_writings()] + list_lookalikes()
    for at, path in enumerate(sorted({*build_kinds({}), "note", "note.deeper", "phone3"})):
        for text in share(texts[at % 41 :: 41], at + RULES.index(rule), len(RULES)):
            document = put(call(5, phone2="+79161234567"), path, text)
            payload = json.dumps(document, ensure_ascii=False).encode()
            assert _compare(protector, payload) == _compare(protector, payload)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_odd_values_in_every_field(rule: Rule) -> None:
    protector = Protector(rule)
    paths = sorted({*FIELDS_BY_PATH, "note", "visit_info", "visit_info.current"})
    for at, path in enumerate(paths):
        for text in share(_ODD[len(path) % 3 :: 3], at + RULES.index(rule), len(RULES)):
            document = call(5, phone2="+79161234567", ip=_ADDRESS)
            _compare(protector, _put_plainly(document, path, text))


@pytest.mark.parametrize(("number", "ips"), list(enumerate(["mask", "drop"])))
def test_addresses_in_every_field(number: int, ips: Action) -> None:
    protector = Protector(Rule(phones="hash", ips=ips, key=KEY))
    for at, path in enumerate(sorted({*FIELDS_BY_PATH, "note"})):
        for text in share(_ADDRESSES[len(path) % 2 :: 2], at + number, 2):
            document = call(5, phone2="+79161234567", ip=_ADDRESS)
            for one in (put(document, path, text), put(document, path, f"from {text} today")):
                _compare(protector, json.dumps(one).encode())


def test_an_address_in_a_text_that_is_known_is_found_when_it_is_a_clients() -> None:
    protector = Protector(Rule(ips="mask"))
    for ip, left in (("203.0.113.9", "126.0.0.0"), ("126.0.0.0", "126.0.0.0"), ("1.2.3.4", "…")):
        text = f"at {left} and 1.2.3.4"
        given = json.loads(protector.protect(json.dumps(call(5, ip=ip, tags=text)).encode()))
        assert given["tags"] == (text.replace("1.2.3.4", "1.2.3.0") if ip == "1.2.3.4" else text)


def test_what_is_remembered_is_bounded_and_forgotten_between_calls_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An address in a text that is known must be known as long as the text is."""
    monkeypatch.setattr(quick, "_MOST", 30)
    protector = Protector(Rule(ips="mask"))
    for at in range(200):
        document = call(5, ip="1.2.3.4", tags="at 1.2.3.4", site=f"s{at}", note=f"n{at}")
        given = json.loads(protector.protect(json.dumps(document).encode()))
        assert given["tags"] == "at 1.2.3.0"
        assert len(protector._quick._values.harmless) < 100


def test_a_usual_call_is_done_quickly() -> None:
    """Of both APIs, with browsers and lists; also with a fraction, and an undeclared field."""
    protector = Protector(RULES[1])
    usual = call(5, phone2="+79161234567", phone1="+74950000001^12", ip=_ADDRESS, tags="again")
    usual["visit_info"] = {"udata": {"uip": _ADDRESS, "uag": _BROWSER, "vst": 1}}
    moved = {
        "universalId": "23423423434434234",
        "clientNumber": "79161234567",
        "managerNumber": "74950000001",
        "callTime": "2026-03-02 12:00:00",
        "userAgent": _BROWSER,
        "ipAddress": _ADDRESS,
        "cbAttemptsQueue": [10000000, 11111111],
        "tags": ["one", "two"],
        "entryPoint": "https://shop.example/a?utm_source=x&utm_medium=cpc",
    }
    for document in (usual, usual | {"asr_attempts": 1.5}, usual | {"mood": "fine"}, moved):
        assert _compare(protector, json.dumps(document).encode()), document
