"""What becomes of a call's fields, whatever shape the source gives them."""

import functools
import json
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pytest

from callkeeper_assets.local_time import split_day
from callkeeper_assets.raw.store import Day
from callkeeper_assets.warehouse.call_sql import plan_load
from callkeeper_assets.warehouse.records import BadDataError
from callkeeper_assets.warehouse.tables import SELECTABLE_TABLES
from callkeeper_assets.warehouse.transform import DayBatch, Transformer, open_duckdb
from callkeeper_assets_tests.warehouse.raw_days import DAY, MOSCOW, call, day_of, moment_of, raw_day


@functools.cache
def shared_duckdb() -> duckdb.DuckDBPyConnection:
    """One for all tests that look at what a day is transformed to: it keeps nothing of a day."""
    return open_duckdb()


def transform_days(*days: Day, zone: ZoneInfo = MOSCOW) -> tuple[DayBatch, list[dict[str, Any]]]:
    """Return the batch and its calls, by id."""
    duck = shared_duckdb()
    batch = Transformer(duck, zone, plan_load(SELECTABLE_TABLES, {}, zone)).transform(days)
    found = duck.sql(f"FROM {batch.frame} ORDER BY call_id").to_arrow_table().to_pylist()
    return batch, found


def transform_payloads(*payloads: str) -> tuple[DayBatch, list[dict[str, Any]]]:
    calls = [(n, moment_of(DAY, n), payload) for n, payload in enumerate(payloads)]
    return transform_days(raw_day(DAY, calls))


def transform(*calls: object) -> list[dict[str, Any]]:
    return transform_payloads(*map(json.dumps, calls))[1]


def test_few_calls_and_many_are_read_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = [
        call(1, phone1="+74950000001^12_+74950000003^_", tags='["a", "b"]'),
        call(2, status_code="101", status2_code=None, duration_sec=" 12 ", attempt="1e3"),
        call(3, visit_info=[], order_date="0000-00-00 00:00:00", country="Россия"),
        {"id": 4, "phone2": 79161234567.0, "status_code": 200, "status2_code": "200"},
    ]
    few = transform(*calls)
    monkeypatch.setattr("callkeeper_assets.warehouse.transform._MOST_UNPLANNED", 0)
    assert transform(*calls) == few


def test_a_full_call_fills_every_column() -> None:
    found = transform(call(7))[0]
    expected = {
        "status": "success",
        "is_final": True,
        "ordered_at": datetime(2026, 3, 2, 9, tzinfo=UTC),
        "manager_phone": "+70000000001",
        "manager_extension": "42",
        "client_phone": "+70000000007",
        "connection_type": "digital_dtmf",
        "page": "https://okna.example/price",
        "user_agent": "Mozilla/5.0",
        "ip": "10.0.0.2",
        "tags": None,
        "first_grouping": "organic",
        "first_campaign": None,
        "first_visit_at": datetime(2026, 1, 1, 10),  # noqa: DTZ001 -- the source names no zone
        "duration_sec": 65,
        "duration2_min": 1,
        "asr_attempts": None,
        "playback_tick": 0,
        "pages": 3,
        "visit": 2,
        "traffic_grouping": "paid",
        "traffic_source": "yandex",
        "traffic_keyword": None,
        "traffic_landing_page": "https://okna.example/?a=1",
        "locations_country_iso": "RU",
        "clientids_clientid": "ga.7",
    }
    assert {name: found[name] for name in expected} == expected


def test_documented_keys_and_flat_nesting_give_the_same_row() -> None:
    nested = call(7)
    visit = nested["visit_info"]
    flat = {k: v for k, v in nested.items() if k != "visit_info"}
    flat |= {
        "current": {
            "utm_type": "utm",
            "utm_source": "yandex",
            "utm_medium": "cpc",
            "utm_campaign": "windows",
            "entry_point": "https://okna.example/?a=1",
            "referrer": "https://ya.example",
        },
        "first": visit["first"],
        "first_add": {"fd": "2026-01-01 10:00:00", "entry_point": "https://okna.example/"},
        **visit["session"],
        **visit["udata"],
        "ga_clid": flat.pop("ga_clientid"),
    }
    beside = {k: v for k, v in nested.items() if k != "visit_info"} | visit
    rows = transform(nested, flat, beside)
    for found in rows:
        for name in ("call_id", "called_at", "began_at", "dates_id", "local_minute"):
            del found[name]
    assert rows[1] == rows[0]
    assert rows[2] == rows[0]


def test_what_is_missing_is_null_and_never_zero() -> None:
    rows = transform(
        {"id": 1}, dict.fromkeys(call(1)), dict.fromkeys(call(1), ""), {"id": 1, "visit_info": []}
    )
    keys = {"call_id", "called_at", "day", "is_final", "local_minute", "dates_id", "keep_calls"}
    keys |= {"service", "began_at", "outcome", "has_recording", "has_unread", "is_misplaced"}
    for found in rows:
        assert {n for n, v in found.items() if v is not None} == {*keys, "keep_facts"}


@pytest.mark.parametrize(
    "absurd",
    ["9" * 400, "many", True, {"a": [1]}, [], -(10**30), 10**30, 1e308, "½", "\x00", "nan"],
)
def test_an_absurd_value_does_not_stop_a_load(absurd: object) -> None:
    found = transform(dict.fromkeys(call(1), absurd))[0]
    assert found["duration_sec"] is None
    assert found["ordered_at"] is None


def test_the_character_zero_is_left_out() -> None:
    found = transform(call(1, widget_name="a\x00b\x00", tags="\x00", site="c\\u0000"))[0]
    assert (found["widget_name"], found["tags"], found["sites_domain"]) == ("ab", None, "c\\u0000")


def test_half_of_a_surrogate_pair_does_not_stop_a_load() -> None:
    good, bad = call(1), json.dumps(call(2)).replace("ab12", "\\ud83d")
    _, rows = transform_payloads(json.dumps(good), bad)
    assert [found["widget_hash"] for found in rows] == ["ab12", "?"]
    assert rows[1]["widget_name"] == "Основной"


def test_a_payload_that_is_no_json_names_the_call_and_the_remedy() -> None:
    with pytest.raises(BadDataError, match=r"2026-03-02.*call 1\).*Load the day again"):
        transform_payloads(json.dumps(call(1)), '{"id": 1, "ph')


def test_a_call_outside_its_day_is_refused() -> None:
    day = raw_day(DAY, [(5, moment_of(DAY, -1), "{}"), (6, moment_of(DAY, 0), "{}")])
    with pytest.raises(BadDataError, match=r"1 calls lie outside.*Europe/Moscow.*\[5\]"):
        transform_days(day)


@pytest.mark.parametrize(
    ("codes", "status", "is_final"),
    [
        ((200, 200), "success", True),
        ((1, 0), "in_progress", False),
        ((2, 0), "planned", False),
        ((707, 0), "pending", False),
        ((707, None), "pending", False),
        ((200, 0), "failed", True),
        ((200, 707), "failed", True),
        ((486, 0), "failed", True),
        ((None, None), None, True),
    ],
)
def test_the_status_comes_from_both_codes(
    codes: tuple[int | None, int | None],
    status: str | None,
    is_final: bool,
) -> None:
    found = transform(call(1, status_code=codes[0], status2_code=codes[1]))[0]
    assert (found["status"], found["is_final"]) == (status, is_final)


@pytest.mark.parametrize(
    ("marks", "entry", "grouping"),
    [
        ({"typ": "utm", "mdm": "cpc"}, {}, "paid"),
        ({"typ": "utm", "mdm": "email"}, {}, "paid"),
        ({"typ": "utm", "mdm": "referral"}, {}, "referral"),
        ({"typ": "typein", "src": "(direct)", "mdm": "(none)"}, {}, "direct"),
        ({"utm_type": "Organic"}, {}, "organic"),
        ({"utm_type": "messenger"}, {}, "messenger"),
        ({"mdm": "CPC"}, {}, "paid"),
        ({}, {"ep": "https://a.example/?yclid=1"}, "paid"),
        ({"mdm": "organic"}, {}, "organic"),
        ({"src": "(direct)"}, {}, "direct"),
        ({"src": "news"}, {}, "paid"),
        ({}, {"ep": "https://a.example", "rf": "https://b.example"}, "referral"),
        ({}, {"ep": "https://a.example"}, "direct"),
        ({}, {}, None),
    ],
)
def test_the_visits_kind_is_the_sources_or_derived(
    marks: dict[str, str], entry: dict[str, str], grouping: str | None
) -> None:
    found = transform(call(1, visit_info={"current": marks, "current_add": entry}))[0]
    assert found["traffic_grouping"] == grouping
    assert found["traffic_source"] == (marks["src"] if marks.get("src") == "news" else None)


def test_unknown_fields_are_named_with_their_path() -> None:
    strange = call(1, brand_new=1, visit_info={"current": {"typ": "utm", "xyz": 1}, "abc": {}})
    batch, _ = transform_payloads(json.dumps(call(0)), json.dumps(strange))
    assert batch.unknown_fields == {DAY: ("brand_new", "visit_info.abc", "visit_info.current.xyz")}


@pytest.mark.parametrize(
    ("zone", "day", "minutes"),
    [
        ("Europe/Berlin", date(2026, 3, 29), 23 * 60),
        ("Europe/Berlin", date(2026, 10, 25), 25 * 60),
        ("Asia/Kolkata", date(2026, 5, 1), 24 * 60),
        ("Australia/Lord_Howe", date(2026, 4, 5), 24 * 60 + 30),
        ("Asia/Kathmandu", date(2026, 5, 1), 24 * 60),
    ],
)
def test_local_minutes_are_those_of_the_wall_clock(zone: str, day: date, minutes: int) -> None:
    info = ZoneInfo(zone)
    segments = split_day(day, info)
    assert segments[-1].ends_at.timestamp() - segments[0].starts_at.timestamp() == minutes * 60
    moments = [moment_of(day, minute, info) for minute in range(0, minutes, 5)]
    _, found = transform_days(
        raw_day(day, [(n, m, "{}") for n, m in enumerate(moments)]), zone=info
    )
    epoch = datetime(1970, 1, 1)  # noqa: DTZ001 -- a wall clock's
    expected = [
        (m.astimezone(info).replace(tzinfo=None) - epoch).total_seconds() // 60 for m in moments
    ]
    assert [row["dates_id"] for row in found] == expected


def test_a_call_that_two_days_hold_counts_for_the_later() -> None:
    later = date(2026, 3, 3)
    _, found = transform_days(day_of(DAY, [call(1)]), day_of(later, [call(1), call(2)]))
    assert [(row["call_id"], row["day"]) for row in found] == [(1, later), (2, later)]


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ([], None),
        (["VIP"], "VIP"),
        (["VIP", "a, b", 'c"d', "😀"], 'VIP, a, b, c"d, 😀'),
        ("[VIP] и другие", "[VIP] и другие"),
        ("[", "["),
        ("[1] [2]", "[1] [2]"),
    ],
)
def test_a_list_of_tags_is_joined_and_a_text_that_looks_like_one_stays(
    tags: object, expected: str | None
) -> None:
    assert transform(call(1, tags=tags))[0]["tags"] == expected


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"statusFirst": 0, "statusSecond": 0, "status": "success"}, "success"),
        ({"statusFirst": 0, "statusSecond": 0, "status": "fail"}, "failed"),
        ({"statusFirst": 200, "statusSecond": 486, "status": "success"}, "failed"),
        ({"statusFirst": 1, "statusSecond": 0, "status": "fail"}, "in_progress"),
        ({"statusFirst": 0, "statusSecond": 0, "status": "new"}, None),
    ],
)
def test_a_status_is_of_the_codes_and_of_the_word_where_there_are_none(
    fields: dict[str, object], status: str | None
) -> None:
    found = transform({"serviceType": "calltracking", **fields})[0]
    assert (found["status"], found["service"]) == (status, "calltracking")
    assert found["is_final"] == (status != "in_progress")
