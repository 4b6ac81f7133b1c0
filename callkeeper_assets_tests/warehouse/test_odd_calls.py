"""Odd calls give the right values, and the same ones to the tables, a report and a privacy rule."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callkeeper_assets.privacy.rewriting import Protector
from callkeeper_assets.privacy.rule import PhoneAction, Rule
from callkeeper_assets.reports.definition import ColumnType
from callkeeper_assets.reports.rows import (
    MisfitError,
    compile_path,
    find_converter,
    find_undocumented,
    read_calls,
)
from callkeeper_assets_tests.extent import examples
from callkeeper_assets_tests.warehouse.raw_days import DAY, call, moment_of, raw_day
from callkeeper_assets_tests.warehouse.test_transform import transform, transform_payloads

_NUMBERS = (
    "7.10",
    "1155834011.1600000010",
    "1E5",
    "-0.0",
    "1e400",
    "12345678901234567890.5",
    "12345678901234567",
    "12345678901234567890123",
)


def report(payload: str, path: str, kind: ColumnType = "text") -> str | None:
    """Return a call's value in a report; what does not fit is None."""
    day = raw_day(DAY, [(0, moment_of(DAY, 0), payload)])
    [read] = read_calls(DAY, day.calls)
    try:
        return find_converter(kind)(compile_path(path)(read.document))
    except MisfitError:
        return None


def test_a_talk_of_the_unified_api_is_the_talk() -> None:
    payload = (
        '{"serviceType":"callback","cbCallId":7,"universalId":"2",'
        '"callTime":"2026-01-05 10:00:00","duration":152,"tariffTime":3,"counts":12}'
    )
    found = transform_payloads(payload)[1][0]
    reported = ("duration_sec", "duration_min", "duration2_sec", "duration2_min", "visit")
    assert [found[name] for name in reported] == [None, None, 152, 3, 12]


@pytest.mark.parametrize("number", _NUMBERS)
def test_a_number_in_a_text_column_keeps_its_characters(number: str) -> None:
    payload = (
        f'{{"id":1,"ga_clientid": {number},"visit_info":{{"current":{{"utm_content":{number}}}}},'
        f'"tags":["a", {number}]}}'
    )
    found = transform_payloads(payload)[1][0]
    assert found["clientids_clientid"] == found["traffic_content"] == number
    assert found["tags"] == f"a, {number}"
    assert report(payload, "ga_clientid") == number


@pytest.mark.parametrize(
    ("tags", "reported"),
    [
        (r'["a\u0000b","c"]', "ab, c"),
        (r'["\u0000"," ","",null]', None),
        (r'["c"," ","\u0000",null," d "]', "c, d"),
        (r'"a\u0000b"', "ab"),
        (r'["cut \ud83d"]', "cut ?"),
    ],
)
def test_members_of_a_list_are_texts_that_postgresql_can_hold(
    tags: str, reported: str | None
) -> None:
    assert transform_payloads(f'{{"id":1,"tags":{tags}}}')[1][0]["tags"] == reported


@pytest.mark.parametrize("written", ["79161234567.0", '"79161234567.0"', "7.9161234567E10"])
def test_a_phone_that_was_taken_for_a_quantity_is_the_same_client(written: str) -> None:
    found = transform_payloads(f'{{"phone2":{written}}}', '{"phone2":"79161234567"}')[1]
    assert [one["client_phone"] for one in found] == ["79161234567"] * 2
    assert found[0]["clientids_key"] == found[1]["clientids_key"]


@pytest.mark.parametrize(
    ("payload", "column", "path", "last"),
    [
        ('{"phone2":"1","phone2":"2"}', "client_phone", "phone2", "2"),
        ('{"phone2":"1","phone2":null}', "client_phone", "phone2", None),
        ('{"tags":"a","t\\u0061gs":"b"}', "tags", "tags", "b"),
        (
            '{"visit_info":{"udata":{"uag":"a"}},"visit_info":{"udata":{"uag":"b","uag":"c"}}}',
            *("user_agent", "visit_info.udata.uag", "c"),
        ),
        ('{"visit_info":{"session":{"cpg":"a","cpg":"b"}}}', "page", "visit_info.session.cpg", "b"),
    ],
)
def test_of_a_doubled_key_the_last_counts_everywhere(
    payload: str, column: str, path: str, last: str | None
) -> None:
    others = [json.dumps(call(n)) for n in range(3)]
    found = transform_payloads(*others, payload)[1][-1]
    assert found[column] == report(payload, path) == last


def test_of_a_doubled_number_a_masked_call_keeps_the_last_ones_mask() -> None:
    payload = b'{"phone2":"79161234567","phone2":"79261234567"}'
    masked = Protector(Rule(phones="mask")).protect(payload)
    assert json.loads(masked)["phone2"] == "7926123****"
    assert b"79161234567" not in masked


_PARTS = {
    "current": {"typ": "utm", "src": "yandex", "cnt": "7.10"},
    "udata": {"vst": "4"},
    "session": {"pgs": "3"},
}
_VISITS = {
    "JSON": json.dumps(_PARTS),
    "JSON in JSON": json.dumps({name: json.dumps(part) for name, part in _PARTS.items()}),
    "cookie": "typ=utm|||src=yandex|||cnt=7.10|||vst=4|||pgs=3",
    "encoded cookie": "typ%3Dutm%7C%7C%7Csrc%3Dyandex%7c%7c%7ccnt%3D7.10%7C%7C%7Cvst%3D4|||pgs=3",
    "cookies": "sbjs_current=typ%3Dutm%7C%7C%7Csrc%3Dyandex%7C%7C%7Ccnt%3D7.10; "
    "sbjs_udata=vst%3D4; sbjs_session=pgs%3D3",
}


@pytest.mark.parametrize("kind", [one for one in _VISITS if one != "encoded cookie"])
def test_a_visit_that_comes_as_text_is_read_as_the_object(kind: str) -> None:
    payload = json.dumps({"id": 1, "visit_info": _VISITS[kind]})
    alone, beside = transform_payloads(payload), transform_payloads(json.dumps(call(0)), payload)
    for batch, rows in (alone, beside):
        reported = [
            rows[-1][name] for name in ("traffic_source", "traffic_content", "visit", "pages")
        ]
        assert reported == ["yandex", "7.10", 4, 3]
        assert rows[-1]["traffic_grouping"] == "paid"
        assert batch.unknown_fields == {}
    assert report(payload, "visit_info.current.src") == "yandex"


@pytest.mark.parametrize("value", [[1], 5, "hello", "a=b", True, [{"current": {}}], "[]x"])
def test_what_is_no_visit_is_named(value: object) -> None:
    for name in ("visit_info", "udata"):
        payload = json.dumps({"id": 1, name: value})
        for others in ([], [json.dumps(call(0))]):
            batch, _ = transform_payloads(*others, payload)
            assert batch.unknown_fields == {DAY: (name,)}
        found: set[str] = set()
        [read] = read_calls(DAY, raw_day(DAY, [(0, moment_of(DAY, 0), payload)]).calls)
        find_undocumented(read.document, found)
        assert found == {name}


@pytest.mark.parametrize("value", [None, "", " ", [], {}])
def test_no_visit_is_no_wonder(value: object) -> None:
    batch, _ = transform_payloads(json.dumps(call(0)), json.dumps({"id": 1, "visit_info": value}))
    assert batch.unknown_fields == {}


def test_what_cannot_be_read_is_counted_by_day_and_field() -> None:
    batch, rows = transform_payloads(
        json.dumps(call(0)),
        json.dumps(call(1, duration_sec="12.7", attempt="1_000", order_date="soon")),
        json.dumps(call(2, duration_sec=99999999999, order_date="0000-00-00 00:00:00")),
        json.dumps(call(3, duration_sec=" 7 ", attempt="", order_date=0)),
    )
    assert batch.unusable_values == {DAY: {"duration_sec": 2, "attempt": 1, "order_date": 1}}
    assert [row["duration_sec"] for row in rows] == [65, None, None, 7]


@pytest.mark.parametrize(
    ("codes", "word"),
    [((101, 200), "fail"), ((200, 199), "fail"), ((200, 201), "fail"), ((101, 200), "success")],
)
def test_what_never_was_to_be_a_talk_is_no_failure(codes: tuple[int, int], word: str) -> None:
    found = transform({"statusFirst": codes[0], "statusSecond": codes[1], "status": word})[0]
    assert (found["status"], found["is_final"]) == (None, True)


def test_a_search_engines_referrer_is_organic() -> None:
    groupings = {
        "https://yandex.ru/search/?text=a": "organic",
        "https://www.google.com/": "organic",
        "https://www.google.co.uk/search?q=b": "organic",
        "http://go.rambler.ru:80/x": "organic",
        "//search.yahoo.com": "organic",
        "tut.by": "organic",
        "Bing": "organic",
        "android-app://com.google.android.gm": "referral",
        "https://notyandex.example/": "referral",
        "https://google.evil.example/": "referral",
        "https://shop.example/?from=yandex.ru": "referral",
        "https://shop.example/yandex.ru": "referral",
        "https://mail.example@shop.example/": "referral",
    }
    entry = "https://okna.example/"
    visits = [{"current_add": {"rf": referrer, "ep": entry}} for referrer in groupings]
    for found in (
        transform(*(call(1, visit_info=visit) for visit in visits)),
        transform(*({"referrer": referrer} for referrer in groupings)),
    ):
        reported = [one["traffic_grouping"] for one in found]
        assert dict(zip(groupings, reported, strict=True)) == groupings


@pytest.mark.parametrize(
    ("word", "grouping"),
    [
        *(("cpc", "paid"), ("CPC", "paid"), ("paid_search", "paid"), ("Paid Search", "paid")),
        *(("organic search", "organic"), ("Organic-Search", "organic"), ("seo", "organic")),
        *(("type in", "direct"), ("Direct", "direct"), ("Referral Traffic", "referral")),
        ("email", "email"),
    ],
)
def test_words_of_one_meaning_are_one_kind(word: str, grouping: str) -> None:
    found = transform(call(1, visit_info={"current": {"typ": word}}))[0]
    assert found["traffic_grouping"] == grouping


def test_no_place_is_none_and_namibia_stays() -> None:
    found = transform({"region": "N/A", "city": "-", "country": "N/A"}, {"country": "NA"})
    names = ("locations_region", "locations_city", "locations_country", "locations_country_iso")
    assert [found[0][name] for name in names] == [None] * 4
    assert found[1]["locations_country_iso"] == "NA"


_TOKEN = "tel_abcdefghijklmnopabcd"


@pytest.mark.parametrize(
    ("written", "first", "extension", "numbers"),
    [
        ("74950000001^12_74950000003^34", "74950000001", "12", 2),
        ("74950000001^_74950000003^34_+74950000005", "74950000001", None, 3),
        ("74950000001^_", "74950000001", None, 2),
        ("74950000001_74950000003", "74950000001", None, 2),
        ("74950000001^12_sip:user_name@host.example^_", "74950000001", "12", 3),
        ("sip:a@b.example_sip:c_d@e.example^1", "sip:a@b.example", None, 2),
        (f"{_TOKEN}^12_{_TOKEN}^34", _TOKEN, "12", 2),
        ("7495000****^12_7495000****", "7495000****", "12", 2),
        ("(495) 000-00-01^5_+(7495)0000002", "(495) 000-00-01", "5", 2),
        ("74950000001^12", "74950000001", "12", 1),
        ("sip:user_name@host.example^12", "sip:user_name@host.example", "12", 1),
        ("user_name@host.example", "user_name@host.example", None, 1),
        ("100_office@pbx.example", "100_office@pbx.example", None, 1),
        (f"{_TOKEN}^42", _TOKEN, "42", 1),
        ("anonymous_user", "anonymous_user", None, 1),
    ],
)
def test_a_list_of_managers_is_told_from_one(
    written: str, first: str, extension: str | None, numbers: int
) -> None:
    for found in transform({"phone1": written}, {"managerNumber": written}):
        assert (found["manager_phone"], found["manager_extension"]) == (first, extension)
        assert found["manager_phones"] == (written if numbers > 1 else None)


def test_an_address_or_a_page_that_nobody_sent_is_none() -> None:
    """Sourcebuster writes so, and for the address always, unless the site's owner tells it."""
    visit = {
        "udata": {"vst": "1", "uip": "(none)", "uag": "M"},
        "session": {"pgs": "1", "cpg": "(none)"},
        "current_add": {"ep": "(none)", "rf": "(none)"},
    }
    read, visited = transform(
        {"ip": "", "visit_info": visit}, {"udata": "vst=1|||uip=(none)|||uag=M"}
    )
    for found in (read, visited):
        assert (found["ip"], found["page"], found["visit"]) == (None, None, 1)
        assert (found["traffic_landing_page"], found["traffic_grouping"]) == (None, None)


@pytest.mark.parametrize("action", ["mask", "hash"])
def test_no_number_of_a_list_escapes_the_rule(action: PhoneAction) -> None:
    payload = {
        "phone1": "74950000001^12_74950000003^34",
        "tags": "call 74950000003 first",
        "callerIdToManager": "79161234567",
    }
    rule = Rule(phones=action, manager_phones=action, key=b"key")
    hidden = Protector(rule).protect(json.dumps(payload).encode())
    for number in (b"74950000001", b"74950000003", b"79161234567"):
        assert number not in hidden
    found = transform(json.loads(hidden))[0]
    assert found["manager_extension"] == "12"
    assert found["manager_phones"].count("^") == 2
    assert found["manager_phone"] == found["manager_phones"].partition("^")[0]
    assert Protector(rule).protect(hidden) == hidden


_KEYS = st.sampled_from(["ga_clientid", "ya_clientid", "widget_name", "duration_sec", "attempt"])
_SENT = st.one_of(
    st.integers(-(10**20), 10**20).map(str),
    st.decimals(allow_nan=False, allow_infinity=False, places=4).map(str),
    st.from_regex(r"-?(0|[1-9][0-9]{0,12})(\.[0-9]{1,12})?([eE][+-]?[0-9]{1,2})?", fullmatch=True),
    st.sampled_from(["null", '""', '"12.7"', '"0x1F"', '"+5"', '" 7 "', "-0"]),
).map(lambda sent: sent if sent != "-0" else "0")


@settings(max_examples=examples(8))
@given(calls=st.lists(st.lists(st.tuples(_KEYS, _SENT, st.booleans()), max_size=7), max_size=6))
def test_tables_and_reports_agree_on_doubled_keys_and_numbers_as_text_or_not(
    calls: list[list[tuple[str, str, bool]]],
) -> None:
    payloads, wanted = [], []
    for pairs in calls:
        sent = [
            (key, f'"{value}"' if as_text and not value.startswith(('"', "null")) else value)
            for key, value, as_text in pairs
        ]
        payloads.append("{" + ",".join(f'"{key}":{value}' for key, value in sent) + "}")
        # The last one counts; its characters are the value.
        wanted.append(
            {key: value.strip('"') for key, value in sent if value != "null"}
            | {key: "" for key, value in dict(sent).items() if value == "null"}
        )
    rows = transform_payloads(*payloads)[1]
    columns = {"ga_clientid": "clientids_clientid", "ya_clientid": "clientids_userid"}
    for payload, row, reported in zip(payloads, rows, wanted, strict=True):
        for key, characters in reported.items():
            found = row[columns.get(key, key)]
            is_number = key in ("duration_sec", "attempt")
            said = report(payload, key, "integer" if is_number else "text")
            assert (None if found is None else str(found)) == said
            if not is_number:
                assert found == (characters if characters.strip() else None)
