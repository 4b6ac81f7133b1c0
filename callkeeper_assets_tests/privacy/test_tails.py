"""The search by last digits finds a number in any form, and tells ids and moments from it."""

import json
from urllib.parse import quote

import pytest

from callkeeper_assets.privacy.tails import (
    HashedTail,
    KnownTail,
    Leaf,
    hash_tail,
    holds,
    list_leaves,
    may_hold,
    read_tail,
)

NUMBER = "79161234567"
TAIL = KnownTail(read_tail(NUMBER), ("tel_abcdefghijklmnopabcd",))
KEY = b"the home's own key"
HASHED = HashedTail(hash_tail(read_tail(NUMBER), KEY), KEY)
WRITTEN = "8 (916) 123-45-67"


def _as_digits_of(script: int, text: str) -> str:
    return "".join(chr(script + int(one)) if one.isdigit() else one for one in text)


FORMS = {
    "plain": f"+{NUMBER}",
    "national": WRITTEN,
    "arabic": _as_digits_of(0x0660, WRITTEN),
    "full_width": _as_digits_of(0xFF10, WRITTEN),
    "zero_width": "\u200b".join(NUMBER),
    "direction_marks": f"\u202d+{NUMBER}\u202c",
    "extension": f"{WRITTEN} доб. 1234",
    "two_in_a_field": f"+79031112233;{WRITTEN}",
    "inside_words": f"Ivan{NUMBER}@mail.example",
    "url": f"https://a.example/?p={quote(WRITTEN)}&x=1",
    "url_dashes": f"phone={quote('8 916 123–45–67')}",
    "url_twice": quote(quote(WRITTEN)),
    "json_escapes": "8 916 123\\u201145\\u201167",
    "json_in_json": json.dumps(json.dumps("8 916 123‑45‑67")),
    "html": "8&nbsp;916&#8209;123&#x2011;45-67",
    "digits_as_entities": "".join(f"&#{ord(one)};" for one in NUMBER),
    "digits_as_escapes": "".join(f"\\u{ord(one):04x}" for one in NUMBER),
    "digits_as_percents": "".join(f"%{ord(one):02X}" for one in NUMBER),
    "script_escapes": "8 916 123%u201145%u201167",
    "lines": "8 916\n123\r\n45 67",
}


@pytest.mark.parametrize("form", FORMS)
def test_a_number_is_found_in_any_form_by_its_digits_and_by_their_hash(form: str) -> None:
    text = FORMS[form]
    for tail in (TAIL, HASHED):
        assert may_hold(tail, text)
        assert holds(tail, Leaf("", text))
        document = json.dumps({"a": {"b": [text]}})
        assert may_hold(tail, document)
        assert any(holds(tail, leaf) for leaf in list_leaves(document))


@pytest.mark.parametrize("tail", [TAIL, HASHED], ids=["known", "hashed"])
@pytest.mark.parametrize(
    "text",
    [
        "+79161234576",
        "916123456",
        "8 916 123-45-6x7".replace("x", "0"),
        "9161 for 2345 and 76",
        "4000009161234512",
    ],
)
def test_other_numbers_are_not_found(tail: KnownTail, text: str) -> None:
    assert not holds(tail, Leaf("", text))


def test_a_moment_is_no_number_of_926() -> None:
    tail = KnownTail("260112120")
    assert not holds(tail, Leaf("", "2026-01-12 12:00:01"))
    assert not holds(tail, Leaf("", "since 2026-01-12T12:00:59.123Z, forget-20260112T120000-aa"))
    assert holds(tail, Leaf("", "+7 926 011-21-20 at 2026-01-12 12:00"))


def test_a_whole_number_counts_where_it_ends_with_the_digits_and_is_not_longer_than_a_phones() -> (
    None
):
    leaves = {text: list_leaves(f'{{"a": {text}}}')[1] for text in (NUMBER, "79161234567.0")}
    assert all(holds(TAIL, leaf) for leaf in leaves.values())
    for text in ("1612345670", "4000000161234567", "1.5e300"):
        assert not holds(TAIL, list_leaves(f'{{"a": {text}}}')[1])


def test_names_that_stand_twice_and_names_that_are_numbers_are_leaves() -> None:
    twice = '{"phone2": "+79161234567", "phone2": null}'
    assert Leaf("phone2", f"+{NUMBER}") in list_leaves(twice)
    assert Leaf("", NUMBER) in list_leaves(f'{{"x": {{"{NUMBER}": 1}}}}')
    form = list_leaves("phone2=%2B79161234567&phone2=", "form")
    assert Leaf("phone2", f"+{NUMBER}") in form
    nested = list_leaves('visit_info={"udata":{"a":"8916"}}&x[ip]=1', "form")
    assert {Leaf("visit_info.udata.a", "8916"), Leaf("x.ip", "1")} <= set(nested)


def test_tokens_are_found_and_a_hash_has_no_digits_of_the_number() -> None:
    assert holds(TAIL, Leaf("", "see tel_abcdefghijklmnopabcd"))
    hashed = hash_tail(read_tail(NUMBER), KEY)
    assert hashed.startswith("last9_")
    assert not any(one.isdigit() for one in hashed[6:])
    assert hashed != hash_tail(read_tail(NUMBER), b"another home's key")


def test_a_short_number_is_looked_for_whole() -> None:
    short = HashedTail(hash_tail(read_tail("4951234"), KEY), KEY)
    assert holds(short, Leaf("", "call 495-12-34"))
    assert not holds(short, Leaf("", "call 495-12-3"))


def test_what_has_many_escapes_ends_soon() -> None:
    assert not may_hold(TAIL, "%25" * 5_000 + "&amp;" * 5_000 + "\\\\" * 5_000)
