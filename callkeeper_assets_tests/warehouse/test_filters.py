"""A filter that cannot be meant is refused with what is allowed; one that can does what it says."""

import json
from datetime import UTC, date, datetime, timedelta

import pytest

from callkeeper_assets.postgres import read_sql_of
from callkeeper_assets.warehouse.call_sql import plan_load
from callkeeper_assets.warehouse.filters import Filter, FilterOp, check_filter
from callkeeper_assets.warehouse.records import FilterError
from callkeeper_assets.warehouse.tables import SELECTABLE_TABLES, TABLES
from callkeeper_assets.warehouse.transform import Transformer
from callkeeper_assets_tests.warehouse.raw_days import DAY, MOSCOW, call, moment_of, raw_day
from callkeeper_assets_tests.warehouse.test_transform import shared_duckdb

FACTS = "callkeeper_calls_facts"
CALLS = [
    call(1, tags="vip", duration_sec=10, roistat_visit="5", ya_clientid="12345678901234567"),
    call(2, tags="vip old", duration_sec=20, roistat_visit="40", ya_clientid="12345678901234568"),
    call(3, tags=None, duration_sec=None, roistat_visit=None, status_code=486, status2_code=0),
]


def kept(f: Filter, table: str = FACTS) -> list[int]:
    """Return the ids of CALLS that pass a filter."""
    calls = [(c["id"], moment_of(DAY, c["id"] * 60), json.dumps(c)) for c in CALLS]
    duck = shared_duckdb()
    plan = plan_load(SELECTABLE_TABLES, {table: [f]}, MOSCOW)
    batch = Transformer(duck, MOSCOW, plan).transform([raw_day(DAY, calls)])
    found = duck.sql(f"SELECT call_id FROM {batch.frame} WHERE keep_facts ORDER BY 1")
    return [row[0] for row in found.fetchall()]


@pytest.mark.parametrize(
    ("f", "ids"),
    [
        (Filter("status", "eq", "success"), [1, 2]),
        (Filter("tags", "ne", "vip"), [2, 3]),
        (Filter("tags", "not_in", ["vip"]), [2, 3]),
        (Filter("tags", "in", ["vip", "x"]), [1]),
        (Filter("tags", "contains", "ip"), [1, 2]),
        (Filter("tags", "starts_with", "vip "), [2]),
        (Filter("tags", "is_null"), [3]),
        (Filter("tags", "not_null"), [1, 2]),
        (Filter("duration_sec", "lt", 20), [1]),
        (Filter("duration_sec", "ge", 10.5), [2]),
        (Filter("is_final", "eq", True), [1, 2, 3]),
        (Filter("roistat_visit", "lt", 20), [1]),
        (Filter("roistat_visit", "lt", "5"), [2]),
        (Filter("roistat_visit", "is_null"), [3]),
        (Filter("visit_info.current.src", "eq", "yandex"), [1, 2, 3]),
        (Filter("visit_info.current.utm_source", "eq", "yandex"), [1, 2, 3]),
        (Filter("roistat_visit", "in", [40, "x"]), [2]),
        (Filter("roistat_visit", "not_in", ["x", 5]), [2, 3]),
        (Filter("a_type", "in", [4, "auto"]), []),
        (Filter("ya_clientid", "eq", 12345678901234568), [2]),
        (Filter("ya_clientid", "in", [12345678901234567, 1]), [1]),
        (Filter("ya_clientid", "gt", 12345678901234567), [2]),
        (Filter("tags", "eq", "'; DROP TABLE callkeeper_calls; --"), []),
    ],
)
def test_a_filter_keeps_the_calls_it_describes(f: Filter, ids: list[int]) -> None:
    assert kept(f) == ids


# At 23:00 on the day before DAY, at noon on it, and at 00:30 on the next: in UTC all three are on
# other dates, or other hours.
NEAR_MIDNIGHT = {1: -60, 2: 12 * 60, 3: 24 * 60 + 30}


def kept_near_midnight(f: Filter, table: str) -> list[int]:
    """Return which of NEAR_MIDNIGHT, in its order, pass a filter on their time."""
    days = {1: DAY - timedelta(days=1), 2: DAY, 3: DAY + timedelta(days=1)}
    loads = []
    for n, minute in NEAR_MIDNIGHT.items():
        moment = moment_of(DAY, minute)
        payload = json.dumps({"id": n, "order_date": moment.timestamp()})
        loads.append(raw_day(days[n], [(n, moment, payload)]))
    duck = shared_duckdb()
    plan = plan_load(SELECTABLE_TABLES, {table: [f]}, MOSCOW)
    batch = Transformer(duck, MOSCOW, plan).transform(loads)
    kept = "dates_id > 1" if table == "general_dates" else "keep_facts"
    found = duck.sql(f"SELECT call_id FROM {batch.frame} WHERE {kept} ORDER BY 1")
    return [row[0] for row in found.fetchall()]


@pytest.mark.parametrize(
    ("table", "field"),
    [
        (FACTS, "called_at"),
        (FACTS, "ordered_at"),
        ("general_dates", "full_date"),
        ("general_dates", "simple_date"),
    ],
)
@pytest.mark.parametrize(
    ("op", "value", "ids"),
    [
        ("lt", "2026-03-02", [1]),
        ("le", "2026-03-02", [1, 2]),
        ("gt", "2026-03-02", [3]),
        ("ge", "2026-03-02", [2, 3]),
        ("eq", "2026-03-02", [2]),
        ("ne", "2026-03-02", [1, 3]),
        ("in", ["2026-03-02", "2026-03-03"], [2, 3]),
        ("not_in", ["2026-03-01", "2026-03-03"], [2]),
        ("le", date(2026, 3, 2), [1, 2]),
        ("eq", "20260302", [2]),
        ("eq", "2026-W10-1", [2]),
        ("le", "9999-12-31", [1, 2, 3]),
        ("gt", "0001-01-01", [1, 2, 3]),
    ],
)
def test_a_date_is_a_whole_day_of_the_sources_zone(
    table: str, field: str, op: FilterOp, value: object, ids: list[int]
) -> None:
    assert kept_near_midnight(Filter(field, op, value), table) == ids


@pytest.mark.parametrize(
    ("table", "field"),
    [(FACTS, "called_at"), (FACTS, "ordered_at"), ("general_dates", "full_date")],
)
@pytest.mark.parametrize(
    ("op", "value", "ids"),
    [
        ("lt", "2026-03-02 12:00", [1]),
        ("eq", "2026-03-02 12:00:00", [2]),
        ("ge", "2026-03-02T12", [2, 3]),
        ("gt", "2026-03-02T00", [2, 3]),
        ("eq", "2026-03-02T09:00Z", [2]),
        ("ne", "2026-03-02T14:00+05:00", [1, 3]),
        ("in", ["2026-03-01 23:00", "2026-03-03"], [1, 3]),
        ("lt", datetime(2026, 3, 2, 9, 1, tzinfo=UTC), [1, 2]),
        ("lt", "9999-12-31T23:59:59-05:00", [1, 2, 3]),
    ],
)
def test_a_time_is_of_the_sources_clock_unless_it_names_a_zone(
    table: str, field: str, op: FilterOp, value: object, ids: list[int]
) -> None:
    assert kept_near_midnight(Filter(field, op, value), table) == ids


def test_closed_sets_of_values_are_those_that_a_load_writes() -> None:
    """Each value passes as a filter, and months and weekdays are those of a year's minutes."""
    duck = shared_duckdb()
    read_sql = read_sql_of("callkeeper_assets.warehouse")
    a_year = "WITH minutes AS (SELECT 1440 * range AS id FROM range(366))"
    rows = duck.sql(f"{a_year} {read_sql('dates')}")
    for column in TABLES["general_dates"].columns:
        if column.type == "text":
            written = {row[0] for row in rows.select(column.name).fetchall()}
            assert written == set(column.values), column.name
            for value in column.values:
                check_filter("general_dates", Filter(column.name, "eq", value))
    codes = "FROM range(800) AS x(a), range(800) AS y(b)"
    statuses = {row[0] for row in duck.sql(f"SELECT call_status(a, b) {codes}").fetchall()}
    assert statuses - {None} == set(TABLES["callkeeper_calls"].column("status").values)


@pytest.mark.parametrize(
    ("table", "f", "words"),
    [
        (FACTS, Filter("statuss", "eq", "x"), r"Did you mean status"),
        (FACTS, Filter("calls_id", "eq", 1), r"neither its column nor a field of the raw call"),
        ("general_sites", Filter("domian", "eq", "x"), r"Did you mean domain"),
        ("general_sites", Filter("nope", "eq", "x"), r"Allowed are its columns domain; and in"),
        ("general_accounts", Filter("id", "eq", 1), r"cannot be filtered\. Allowed are: general_d"),
        ("callkeeper_loads", Filter("day", "eq", 1), r"cannot be filtered"),
        (FACTS, Filter("duration_sec", "gt", "long"), r"has to be a number, not 'long'"),
        (FACTS, Filter("duration_sec", "gt", float("nan")), r"has to be a number, not nan"),
        (FACTS, Filter("duration_sec", "gt", float("-inf")), r"has to be a number, not -inf"),
        (FACTS, Filter("ya_clientid", "in", ["x", 10**30]), r"has to be a text or a number"),
        (FACTS, Filter("duration_sec", "gt", True), r"has to be a number, not True"),
        (FACTS, Filter("duration_sec", "contains", "1"), r"works on text only"),
        (FACTS, Filter("status", "eq"), r"eq takes a value: a text; for a missing one use is_null"),
        (FACTS, Filter("status", "is_null", 1), r"is_null takes no value"),
        (
            FACTS,
            Filter("status", "eq", "sucess"),
            r"never 'sucess'. Did you mean success\? Allowed",
        ),
        ("callkeeper_calls", Filter("status", "not_in", ["success", "fail"]), r"mean failed\?"),
        (FACTS, Filter("status", "starts_with", "plant"), r"Did you mean planned"),
        ("general_dates", Filter("month_label", "eq", "январь"), r"Allowed are: Январь, Февраль"),
        (FACTS, Filter("status", "in", "success"), r"takes a list of at least one value"),
        (FACTS, Filter("status", "in", ["a", 1]), r"a text, not the number 1: put it in quotes"),
        (FACTS, Filter("status", "in", ["a", None]), r"is empty; for a missing one use is_null"),
        (
            "callkeeper_calls",
            Filter("called_at", "not_in", [date(2026, 3, 2), None]),
            r"a value .* is empty",
        ),
        (
            "callkeeper_calls",
            Filter("client_phone", "eq", 79261234567),
            r"number \*\*\*: put it in quotes",
        ),
        (
            "callkeeper_calls",
            Filter("client_phone", "contains", 79261234567),
            r"a text, not the number \*\*\*",
        ),
        (FACTS, Filter("called_at", "lt", "noon"), r"has to be a date or a time"),
        (FACTS, Filter("is_final", "eq", 1), r"has to be true or false"),
        (FACTS, Filter("status", "like", "x"), r"has the op 'like'\. Allowed are: eq, ne"),  # type: ignore[arg-type]
    ],
)
def test_a_filter_that_cannot_be_meant_is_refused(table: str, f: Filter, words: str) -> None:
    with pytest.raises(FilterError, match=words):
        check_filter(table, f)
