"""A filter that cannot be meant is refused with what is allowed; one that can does what it says."""

import json
from datetime import date

import pytest

from callkeeper_assets.warehouse.call_sql import plan_load
from callkeeper_assets.warehouse.errors import FilterError
from callkeeper_assets.warehouse.filters import Filter, check_filter
from callkeeper_assets.warehouse.tables import SELECTABLE_TABLES
from callkeeper_assets.warehouse.transform import Transformer, open_duckdb
from callkeeper_assets_tests.warehouse.raw_days import DAY, MOSCOW, call, moment_of, raw_day

FACTS = "callkeeper_calls_facts"
CALLS = [
    call(1, tags="vip", duration_sec=10, roistat_visit="5", ya_clientid="12345678901234567"),
    call(2, tags="vip old", duration_sec=20, roistat_visit="40", ya_clientid="12345678901234568"),
    call(3, tags=None, duration_sec=None, roistat_visit=None, status_code=486, status2_code=0),
]


def kept(f: Filter, table: str = FACTS) -> list[int]:
    """Return the ids of CALLS that pass a filter."""
    calls = [(c["id"], moment_of(DAY, c["id"] * 60), json.dumps(c)) for c in CALLS]
    with open_duckdb() as duck:
        plan = plan_load(SELECTABLE_TABLES, {table: [f]})
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
        (Filter("called_at", "lt", "2026-03-01T23:00:00"), [1]),
        (Filter("called_at", "ge", date(2026, 3, 2)), [3]),
        (Filter("roistat_visit", "lt", 20), [1]),
        (Filter("roistat_visit", "lt", "5"), [2]),
        (Filter("roistat_visit", "is_null"), [3]),
        (Filter("visit_info.current.src", "eq", "yandex"), [1, 2, 3]),
        (Filter("visit_info.current.utm_source", "eq", "yandex"), [1, 2, 3]),
        (Filter("roistat_visit", "in", [40, "x"]), [2]),
        (Filter("roistat_visit", "not_in", ["x", 5]), [2, 3]),
        (Filter("a_type", "in", [4, "auto"]), []),
        (Filter("called_at", "ge", "20260302"), [3]),
        (Filter("called_at", "ge", "2026-W10-1"), [3]),
        (Filter("called_at", "ge", "2026-03-02T00"), [3]),
        (Filter("called_at", "ge", "2026-03-02T03:00+03:00"), [3]),
        (Filter("ya_clientid", "eq", 12345678901234568), [2]),
        (Filter("ya_clientid", "in", [12345678901234567, 1]), [1]),
        (Filter("ya_clientid", "gt", 12345678901234567), [2]),
        (Filter("tags", "eq", "'; DROP TABLE callkeeper_calls; --"), []),
    ],
)
def test_a_filter_keeps_the_calls_it_describes(f: Filter, ids: list[int]) -> None:
    assert kept(f) == ids


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
        (FACTS, Filter("status", "in", "success"), r"takes a list of at least one value"),
        (FACTS, Filter("status", "in", ["a", 1]), r"each value has to be a text, not 1"),
        (FACTS, Filter("called_at", "lt", "noon"), r"has to be a date or a time"),
        (FACTS, Filter("is_final", "eq", 1), r"has to be true or false"),
        (FACTS, Filter("status", "like", "x"), r"has the op 'like'\. Allowed are: eq, ne"),  # type: ignore[arg-type]
    ],
)
def test_a_filter_that_cannot_be_meant_is_refused(table: str, f: Filter, words: str) -> None:
    with pytest.raises(FilterError, match=words):
        check_filter(table, f)
