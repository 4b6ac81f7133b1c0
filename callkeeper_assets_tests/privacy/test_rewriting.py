"""After masking, hashing and erasing no number, address or browser is left in a call in clear."""

import json
from typing import Any, Final
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callkeeper_assets.privacy.fields import KINDS, build_kinds
from callkeeper_assets.privacy.numbers import has_number
from callkeeper_assets.privacy.rewriting import Eraser, NotJsonError, Protector, Seeker
from callkeeper_assets.privacy.rule import Rule, hash_number, mask_number, protect_agent
from callkeeper_assets.raw.document import read_call
from callkeeper_assets.raw.fields import CALL_FIELDS, FIELDS_BY_PATH
from callkeeper_assets.simulator.scenery import USER_AGENTS
from callkeeper_assets_tests.privacy.writings import WRITINGS
from callkeeper_assets_tests.warehouse.raw_days import call

KEY: Final = b"a key of some length"
MASK: Final = Rule("mask", "mask", "mask", "mask", "mask")
HASH: Final = Rule("hash", "hash", "drop", "drop", "drop", KEY)
CLIENT, MANAGER = "79161234567", "74642512525"

_NATIONAL = st.from_regex(r"[3489][0-9]{9}", fullmatch=True)
_RULES = st.sampled_from([MASK, HASH])


def encode(document: dict[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False).encode()


def protect(rule: Rule, **fields: object) -> dict[str, Any]:
    """Protect a call and read it again."""
    document: dict[str, Any] = json.loads(Protector(rule).protect(encode(call(5, **fields))))
    return document


def test_every_declared_field_has_a_kind() -> None:
    assert [field.name for field in CALL_FIELDS if field.name not in KINDS] == []
    assert build_kinds({}).keys() == FIELDS_BY_PATH.keys()


def test_keeping_everything_touches_nothing() -> None:
    payload = b'{ "id" : 1.50 , "phone2": "+79161234567"}'
    assert Protector(Rule()).protect(payload) is payload


@given(_NATIONAL, st.sampled_from(WRITINGS), st.sampled_from(WRITINGS), _RULES)
def test_a_number_is_nowhere_in_clear_however_it_is_written_elsewhere(
    national: str, write: object, write_again: object, rule: Rule
) -> None:
    """In a page's address, in tags, in an undeclared field, in JSON within a text."""
    assert callable(write)
    assert callable(write_again)
    other = write_again(national)
    document = call(
        5,
        phone2=write(national),
        tags=f"call {other}!",
        new_field=["x", {"note": other, "number": other}],
        inner=json.dumps({"who": other}),
        as_number=int(national),
    )
    document["visit_info"]["session"]["cpg"] = f"https://a.example/form?phone={other}&a=1"
    protector = Protector(rule)
    protected = protector.protect(encode(document))
    assert not has_number(protected.decode(), f"7{national}")
    assert protector.protect(protected) == protected


def test_hashes_of_one_client_join_and_of_others_or_keys_do_not() -> None:
    tokens = {protect(HASH, phone2=write("9161234567"))["phone2"] for write in WRITINGS[:10]}
    assert tokens == {hash_number(CLIENT, KEY)}
    assert protect(HASH, phone2="+79161234568")["phone2"] not in tokens
    assert hash_number(CLIENT, b"another") not in tokens


def test_masking_hides_the_last_four_digits_and_keeps_the_extension() -> None:
    seen = protect(MASK, phone1="+74642512525^4342", phone2="8 (916) 123-45-67")
    assert (seen["phone1"], seen["phone2"]) == ("+7464251****^4342", "8 (916) 123-**-**")
    assert protect(MASK, phone2="anonymous")["phone2"] == "anonymous"
    assert protect(HASH, phone1="+74642512525^4342")["phone1"].endswith("^4342")


def test_what_is_masked_is_not_hashed_and_what_is_hashed_not_masked() -> None:
    """Of a masked number nobody can make the hash: a wrong one would join strangers."""
    assert protect(HASH, phone2=mask_number(CLIENT))["phone2"] == mask_number(CLIENT)
    token = hash_number(CLIENT, KEY)
    assert protect(MASK, phone2=token)["phone2"] == token


def test_the_companys_numbers_can_be_kept() -> None:
    rule = Rule(phones="mask")
    seen = protect(rule, phone1=f"+{MANAGER}", phone2=f"+{CLIENT}", tags=f"+{MANAGER} +{CLIENT}")
    assert seen["phone1"] == f"+{MANAGER}"
    assert seen["tags"] == f"+{MANAGER} +7916123****"


def test_a_number_that_both_sides_have_is_hidden_elsewhere() -> None:
    seen = protect(Rule(phones="mask"), phone1=f"+{CLIENT}", phone2=f"+{CLIENT}", tags=CLIENT)
    assert seen["tags"] == "7916123****"


def test_undeclared_fields_get_a_kind_by_their_names_and_values() -> None:
    seen = protect(
        MASK,
        client_number="9031112233",
        managerNumber="74950000001",
        host_ip="203.0.113.17",
        userAgent="Mozilla/5.0 (Windows NT 10.0) Chrome/120.0 Safari/537.36",
        recordUrl="https://records.example/secret/5.mp3",
        note="ring +7 903 111-22-33 or 89031112233; 198.51.100.9",
        campaign_id="4512345678",
    )
    assert seen["client_number"] == "903111****"
    assert seen["managerNumber"] == "7495000****"
    assert seen["host_ip"] == "203.0.113.0"
    assert seen["userAgent"] == "Chrome, Windows"
    assert seen["recordUrl"] == "https://records.example/***"
    assert seen["note"] == "ring +7 903 111-**-** or 8903111****; 198.51.100.9"
    assert seen["campaign_id"] == "4512345678"


def test_the_same_address_is_hidden_wherever_it_stands() -> None:
    seen = protect(
        Rule(ips="mask"), ip="203.0.113.17", tags="from 203.0.113.17", uip="2001:db8::17"
    )
    assert (seen["ip"], seen["tags"], seen["uip"]) == (
        "203.0.113.0",
        "from 203.0.113.0",
        "2001:db8::",
    )
    assert protect(Rule(ips="drop"), ip="203.0.113.17")["ip"] == ""
    assert protect(Rule(ips="mask"), ip="no address")["ip"] == ""


def test_renamed_fields_of_webhooks_are_known() -> None:
    protector = Protector(MASK, {"phone2": "who", "visit_info.udata.uag": "browser"})
    seen = json.loads(protector.protect(b'{"who": "101101101", "browser": "Firefox/1"}'))
    assert seen == {"who": "10110****", "browser": "Firefox, other"}


@pytest.mark.parametrize("agent", USER_AGENTS)
def test_a_masked_browser_has_no_version_and_stays_as_it_is(agent: str) -> None:
    masked = protect_agent(agent, "mask")
    assert not any(one.isdigit() for one in masked)
    assert "other" not in masked
    assert protect_agent(masked, "mask") == masked


def test_what_is_no_json_has_all_masked_that_looks_like_a_number_or_an_address() -> None:
    protector = Protector(MASK)
    with pytest.raises(NotJsonError):
        protector.protect(b"{phone2: +7 916")
    text = protector.protect_unreadable('{"phone2": "+7 (916) 123-45-67", 9031112233, 203.0.113.17')
    assert text == '{"phone2": "***", ***, 203.0.113.0'


def test_legal_json_that_fast_readers_refuse_is_protected_too() -> None:
    payload = b'{"phone2": "+79161234567", "tags": "\\ud83d", "big": 1e999}'
    seen = Protector(MASK).protect(payload)
    assert b"+7916123****" in seen


@given(_NATIONAL, st.sampled_from(WRITINGS))
def test_erasing_leaves_the_call_and_nothing_of_the_client(national: str, write: object) -> None:
    assert callable(write)
    number = write(national)
    document = call(
        5,
        phone2=number,
        tags=f"Ivan {number}",
        ai_summary={"text": "Ivan wants a window", "score": 7.5},
    )
    document["visit_info"]["session"]["cpg"] = f"https://a.example/{number}?yclid=77&p={number}"
    eraser = Eraser()
    erased = eraser.erase(encode(document), "client")
    assert eraser.erase(erased, "client") == erased
    assert not has_number(erased.decode(), f"7{national}")
    left = json.loads(erased)
    gone = ("phone2", "ip", "record_url", "tags", "ga_clientid", "ya_clientid")
    assert [left[name] for name in gone] == [None] * len(gone)
    assert left["visit_info"]["udata"] == {"vst": 2, "uag": None, "uip": None}
    assert "ai_summary" not in left
    assert "yclid" not in erased.decode()
    same = ("id", "phone1", "order_date", "duration_sec", "status_code", "site", "attempt")
    assert {name: left[name] for name in same} == {name: document[name] for name in same}
    assert left["visit_info"]["current"] == document["visit_info"]["current"]


def test_a_call_with_its_own_client_loses_the_numbers_in_its_texts_alone() -> None:
    document = call(5, phone2="+79031112233", tags="for +7 916 123-45-67", note="ok")
    left = json.loads(Eraser().erase(encode(document), "mention"))
    assert left == {**document, "tags": "for ***"}


def test_a_managers_own_number_is_erased_where_the_manager_is_the_client() -> None:
    same = encode(call(5, phone1="+7 (916) 123-45-67^1", phone2=CLIENT))
    assert json.loads(Eraser().erase(same, "client"))["phone1"] is None


@pytest.mark.parametrize(
    ("fields", "role"),
    [
        ({"phone2": "8 (916) 123-45-67", "phone1": CLIENT}, "client"),
        ({"phone1": "+79161234567^5"}, "manager"),
        ({"tags": "see 916 123 45 67", "phone1": CLIENT}, "mention"),
        ({"client_number": "9161234567"}, "client"),
        ({"phone2": hash_number(CLIENT, KEY)}, "client"),
        ({"tags": f"see {hash_number(CLIENT, KEY)}"}, "mention"),
        ({"phone2": "+79161234568"}, None),
        ({"ya_clientid": "1650279161234567"}, None),
    ],
)
def test_a_seeker_tells_whose_the_number_is(fields: dict[str, object], role: str | None) -> None:
    seeker = Seeker(CLIENT, [hash_number(CLIENT, KEY)])
    assert seeker.find_role(encode(call(5, **fields)).decode()) == role


def test_a_masked_number_may_be_the_sought_one() -> None:
    seeker = Seeker(CLIENT, [])
    assert seeker.could_be("8 (916) 123-**-**")
    assert seeker.could_be("916123****")
    assert not seeker.could_be("+7916124****")
    assert not seeker.could_be("+79161234567")


_COOKIE: Final = "vst=2|||uip=203.0.113.17|||uag=Mozilla/5.0 (Windows NT 10.0) Chrome/120.0"


@pytest.mark.parametrize(
    "fields",
    [
        {"udata": _COOKIE},
        {"visit_info": {"udata": _COOKIE}},
        {"visit_info": f"typ=utm|||src=yandex|||{_COOKIE}"},
        {"visit_info": f"sbjs_current=typ%3Dutm; sbjs_udata={quote(_COOKIE)}"},
        {"visit_info": json.dumps({"udata": _COOKIE})},
    ],
)
def test_a_visits_cookie_is_protected_as_the_object_that_it_is_read_as(
    fields: dict[str, Any],
) -> None:
    protector = Protector(MASK)
    protected = protector.protect(encode({"id": 5, **fields}))
    assert b"203.0.113.17" not in protected
    assert b"Mozilla" not in protected
    assert protector.protect(protected) == protected
    read = read_call(protected)
    udata = read.get("udata") or read["visit_info"]["udata"]
    assert (udata["vst"], udata["uip"]) == ("2", "203.0.113.0")
    assert udata["uag"] == "Chrome, Windows"


def test_a_visits_cookie_without_what_is_personal_says_the_same() -> None:
    payload = encode({"id": 5, "visit_info": "typ=utm|||src=yandex|||cmp=(none)"})
    assert read_call(Protector(MASK).protect(payload)) == read_call(payload)
