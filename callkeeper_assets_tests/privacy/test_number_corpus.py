"""Numbers in all writings, in every field, are nowhere in clear; what looks like one is left alone.

What is found is said by the corpus's own search, not by the product's.
"""

import json
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote_plus, urlencode

import pytest

from callkeeper_assets.privacy.fields import read_field
from callkeeper_assets.privacy.numbers import find_numbers, normalise_number, readings
from callkeeper_assets.privacy.rewriting import Protector, Seeker, decode
from callkeeper_assets.privacy.rule import Rule, hash_number
from callkeeper_assets.raw.fields import FIELDS_BY_PATH
from callkeeper_assets.webhooks.inbox import protect_delivery
from callkeeper_assets_tests.extent import share
from callkeeper_assets_tests.privacy.number_corpus import (
    MANY,
    NUMBERS,
    UNSIGNED,
    WITH_TRUNK,
    WRITINGS,
    Number,
    is_in,
    list_lookalikes,
    list_writings,
    put,
)
from callkeeper_assets_tests.warehouse.raw_days import call
from callkeeper_assets_tests.webhooks.inbox_of import read_payload

KEY: Final = b"a key of some length"
RULES: Final = (
    Rule("mask", "mask", "mask"),
    Rule("hash", "hash", "mask", key=KEY),
    Rule("hash", "keep", "drop", key=KEY),
    Rule("mask", "keep"),
)
WRITTEN: Final = tuple(list_writings())
# In these a whole number is what a call is known by.
IDENTITIES: Final = frozenset(
    ("id", "universalId", "cbCallId", "cbUid", "cbAttemptsQueue", "ctCallId", "cbToolId")
) | {"ctCampaignId"}
_OTHER: Final = "+79995550199"


def of_rule(rule: Rule, rules: Sequence[Rule] = RULES) -> Sequence[tuple[Number, str, str]]:
    """What is tried under a rule: all that is written, or its share."""
    return share(WRITTEN, rules.index(rule), len(rules))


def protect(rule: Rule, document: dict[str, Any]) -> str:
    return Protector(rule).protect(json.dumps(document).encode()).decode()


def test_the_corpus_is_large_and_its_search_finds_each_writing() -> None:
    assert len(WRITTEN) > 200
    assert len({number.code for number in NUMBERS}) == 8
    for number, name, text in WRITTEN:
        assert is_in(number, text), (name, text)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_a_client_is_hidden_in_every_writing_and_all_writings_have_one_token(rule: Rule) -> None:
    for number, name, text in WRITTEN:
        given = json.loads(protect(rule, call(5, phone2=text)))["phone2"]
        assert not is_in(number, given), (name, text, given)
        if rule.phones == "hash" and name not in MANY and _is_alone(number, name):
            assert given == hash_number(number.whole, KEY), (name, text)


def _is_alone(number: Number, name: str) -> bool:
    # 8 044 is Minsk's and Kyiv's, 0 312 of several countries: the likeliest one has the token.
    return (
        name != "national" or normalise_number(f"{number.trunk}{number.national}") == number.whole
    )


def test_two_numbers_have_two_tokens() -> None:
    tokens = {
        json.loads(protect(RULES[1], call(5, phone2=f"+{one.whole}")))["phone2"] for one in NUMBERS
    }
    assert len(tokens) == len(NUMBERS)


@pytest.mark.parametrize("rule", RULES[:2], ids=str)
def test_a_clients_number_is_in_no_field_whatever_it_is_written_like(rule: Rule) -> None:
    """Each field has each writing, by turns of another number; the client's own has one more."""
    protector = Protector(rule)
    for turn, path in enumerate(sorted(FIELDS_BY_PATH)):
        for place, name in share(enumerate(WRITINGS), turn + RULES.index(rule), 2):
            number = NUMBERS[(turn + place) % len(NUMBERS)]
            text = WRITINGS[name](number)
            is_identity = path in IDENTITIES and text.isdecimal()
            if is_identity or (name in WITH_TRUNK and not number.trunk):
                continue
            document = put(call(5, phone2=f"+{number.whole}"), path, text)
            given = protector.protect(json.dumps(document).encode()).decode()
            assert not is_in(number, given), (path, name, text, given)


@pytest.mark.parametrize("rule", RULES[:2], ids=str)
@pytest.mark.parametrize("name", ["tags", "visit_info.session.cpg", "duration_sec", "note", "a.b"])
def test_a_strangers_number_that_is_written_as_one_is_hidden_in_texts(
    name: str, rule: Rule
) -> None:
    protector = Protector(rule)
    for number, writing, text in of_rule(rule, RULES[:2]):
        if writing in UNSIGNED or (writing == "national" and number.code not in ("7", "375")):
            continue
        document = put(call(5, phone2=_OTHER), name, text)
        given = protector.protect(json.dumps(document).encode()).decode()
        assert not is_in(number, given), (writing, text, given)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_names_and_numbers_of_json_and_json_within_texts_are_read(rule: Rule) -> None:
    protector = Protector(rule)
    for number, name, text in of_rule(rule):
        document = call(5, phone2=f"+{number.whole}", names={text: {"x": text}})
        document["tags"] = json.dumps({"who": [text, {text: 1}]})
        document["as_number"] = int(number.whole)
        document["as_float"] = float(number.whole)
        given = protector.protect(json.dumps(document).encode()).decode()
        assert not is_in(number, given), (name, text, given)


@pytest.mark.parametrize("rule", RULES[:2], ids=str)
def test_webhooks_of_all_content_types_lose_it(rule: Rule) -> None:
    protector = Protector(rule)
    for number, name, text in of_rule(rule, RULES[:2]):
        fields = {"id": "5", "phone2": text, "tags": text, "date": "2026-03-02 12:00:00"}
        form = urlencode(fields).encode()
        twice = form + f"&phone2=&tags={quote_plus(text)}&tags=x".encode()
        doubled = json.dumps(fields)[:-1].encode() + b',"phone2":null,"tags":""}'
        for content, query, body in (
            ("application/json", b"", json.dumps(fields).encode()),
            ("application/json", b"", doubled),
            ("application/x-www-form-urlencoded", b"", form),
            ("application/x-www-form-urlencoded", b"", twice),
            ("", form, b""),
            ("", twice, b""),
        ):
            payload = protect_delivery(read_payload(content, query, body, {}), protector, {})
            assert payload.reason is None
            assert not is_in(number, payload.body.decode()), (name, content, payload.body)


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("path", ["tags", "visit_info.session.cpg", "ya_clientid", "note", "site"])
def test_what_looks_like_a_number_is_left_alone(path: str, rule: Rule) -> None:
    lookalikes = list_lookalikes()
    assert len(lookalikes) >= 200
    protector = Protector(rule)
    for text in share(lookalikes, RULES.index(rule), len(RULES)):
        document = put(call(5, phone2=_OTHER), path, text)
        given = json.loads(protector.protect(json.dumps(document).encode()))
        expected = put(given, path, text)
        assert given == expected, text


def test_ids_durations_and_times_keep_their_values() -> None:
    document = call(
        79161234567, phone2=_OTHER, duration_sec=9161234567, date_timestamp="1768007272"
    )
    seen = json.loads(protect(RULES[1], document))
    same = ("id", "duration_sec", "date_timestamp", "order_date", "attempt")
    assert {name: seen[name] for name in same} == {name: document[name] for name in same}


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_the_quick_way_gives_what_the_close_one_gives(rule: Rule) -> None:
    protector = Protector(rule)
    quick = 0
    written = of_rule(rule)
    for number, _, text in written:
        for document in (
            call(5, phone2=text),
            call(5, phone2=f"+{number.whole}", tags=text),
            call(5, phone2=_OTHER, tags=text, note="x"),
            call(5, phone2=_OTHER, phone1=text),
        ):
            payload = json.dumps(document, ensure_ascii=False).encode()
            close = protector._protect_closely(decode(payload))
            assert protector.protect(payload) == close, text
            quick += protector._quick.protect(payload) == close
    assert quick > len(written)


def test_protecting_again_changes_nothing() -> None:
    for rule in RULES:
        protector = Protector(rule)
        for _, name, text in of_rule(rule):
            once = protector.protect(json.dumps(call(5, phone2=text, tags=text)).encode())
            assert protector.protect(once) == once, (rule, name, text)


def test_each_writing_is_found_by_whoever_looks_for_the_number() -> None:
    for number, name, text in WRITTEN:
        seeker = Seeker(number.whole, [])
        body = json.dumps(call(5, tags=f"see {text}.", phone2=_OTHER))
        assert seeker.find_role(body) == "mention", (name, text)
        assert seeker.find_role(json.dumps(call(5, phone2=text))) == "client", (name, text)
        assert any(number.whole in one.keys for one in find_numbers(f"see {text}.")), (name, text)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("8 029 123-45-67", "375291234567"),
        ("+44 (0)20 7946 0958", "442079460958"),
        ("\u200e+\u200b49 30 2312 5814", "493023125814"),
        ("050 123-45-67", "380501234567"),
        ("+7 8 916 555-01-47", "79165550147"),
    ],
)
def test_trunks_are_resolved(text: str, number: str) -> None:
    assert normalise_number(text) == number


def test_an_ambiguous_national_form_is_read_in_all_ways() -> None:
    assert {"380501234567", "996501234567"} <= readings("0501234567")
    assert {"74951234567", "84951234567"} <= readings("84951234567")


@pytest.mark.parametrize(
    ("text", "given"),
    [
        ("anonymous", "anonymous"),
        ("", ""),
        (" ", " "),
        ("Иван", "***"),
        ("восемь девятьсот", "***"),
        ("12345678901234567890", "***"),
        ("sip:ivan.petrov@sip.example", "***"),
        ("+7916****", "+7916****"),
        ("+79165550147****", "+7916555********"),
    ],
)
def test_what_cannot_be_read_as_a_number_is_hidden_whole(text: str, given: str) -> None:
    assert json.loads(protect(RULES[0], call(5, phone2=text)))["phone2"] == given


def test_a_field_of_several_numbers_hides_each() -> None:
    seen = json.loads(protect(RULES[0], call(5, phone1="74950000001^12_74950000003^34")))
    assert seen["phone1"] == "7495000****^12_7495000****^34"
    assert len(read_field("79165550147;79035550162").numbers) == 2


def test_a_clients_number_in_a_managers_field_is_the_clients() -> None:
    rule = Rule("mask", "keep")
    seen = json.loads(
        protect(
            rule, call(5, phone1="+7 916 555-01-47^3", phone2="89165550147", note="+74950000001")
        )
    )
    assert seen["phone1"] == "+7 916 555-**-**^3"
    unified = {"universalId": 1, "clientNumber": "+79165550147", "managerNumber": "+74950000001"}
    seen = json.loads(protect(rule, {**unified, "callerIdToManager": "+79165550147"}))
    assert seen["callerIdToManager"] == "+7916555****"
    assert seen["managerNumber"] == "+74950000001"
