"""Addresses within addresses: one of version 4 is the same in each of its writings, and whole."""

import json
from typing import Any, Final

import pytest

from callkeeper_assets.privacy.rewriting import Protector
from callkeeper_assets.privacy.rule import Rule
from callkeeper_assets_tests.warehouse.raw_days import call

_MASK: Final = Rule(ips="mask")
_WRITINGS: Final = (
    "203.0.113.7",
    "::ffff:203.0.113.7",
    "::FFFF:cb00:7107",
    "0:0:0:0:0:fFfF:cb00:7107",
    "0000:0000:0000:0000:0000:ffff:203.0.113.7",
    "::203.0.113.7",
    "::cb00:7107",
    "2002:cb00:7107::",
    "2002:cb00:7107:0:0:0:0:1",
)


def _protect(rule: Rule, **fields: object) -> dict[str, Any]:
    protected: dict[str, Any] = json.loads(
        Protector(rule).protect(json.dumps(call(5, **fields)).encode())
    )
    return protected


@pytest.mark.parametrize("written", _WRITINGS)
def test_an_address_of_version_four_is_masked_in_each_of_its_writings(written: str) -> None:
    """As a field, and as a whole token of a text: what is left of it would tell the visitor's."""
    seen = _protect(_MASK, ip=written, tags=f"from {written}, again", note=written)
    assert (seen["ip"], seen["tags"], seen["note"]) == (
        "203.0.113.0",
        "from 203.0.113.0, again",
        "203.0.113.0",
    )
    assert _protect(Rule(ips="drop"), ip=written, tags=f"from {written}!")["tags"] == "from !"


@pytest.mark.parametrize("field", _WRITINGS)
@pytest.mark.parametrize("text", _WRITINGS)
def test_the_visitors_address_is_known_in_another_writing(field: str, text: str) -> None:
    page = f"https://shop.example/a?ip={text}&b=1"
    seen = _protect(_MASK, ip=field, tags=f"[{text}]:80", visit_info={"session": {"cpg": page}})
    assert seen["tags"] == "[203.0.113.0]:80"
    assert seen["visit_info"]["session"]["cpg"] == "https://shop.example/a?ip=203.0.113.0&b=1"


@pytest.mark.parametrize(
    ("written", "masked"),
    [
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1::"),
        ("2001:db8::6", "2001:db8::"),
        ("2001:DB8:0:0::6", "2001:db8::"),
        ("fe80::1%eth0", "fe80::"),
        ("::1", "::"),
        ("::", "::"),
    ],
)
def test_an_abbreviated_one_of_version_six_keeps_its_network(written: str, masked: str) -> None:
    assert _protect(_MASK, ip=written)["ip"] == masked
    plain = written.partition("%")[0]
    assert _protect(_MASK, ip=written, tags=f"({plain})")["tags"] == f"({masked})"


def test_addresses_of_others_and_what_only_looks_like_one_stay() -> None:
    text = "198.51.100.9 ::ffff:198.51.100.9 1203.0.113.7 203.0.113.70 12:30:45 a::b v126.0.0.0"
    for ip in ("203.0.113.7", "::ffff:203.0.113.7"):
        assert _protect(_MASK, ip=ip, tags=text)["tags"] == text
