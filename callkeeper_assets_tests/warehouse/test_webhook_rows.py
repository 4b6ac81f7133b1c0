"""What webhooks told of lies beside what the source shows, and gives way to it."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import pytest

from callkeeper_assets.raw.store import Day
from callkeeper_assets.warehouse.filters import Filter
from callkeeper_assets.warehouse.queries import unsettled_days
from callkeeper_assets.warehouse.records import LoadedDay, RefusedDay
from callkeeper_assets.warehouse.tables import SELECTABLE_TABLES
from callkeeper_assets_tests.warehouse.raw_days import (
    DAY,
    MAIN,
    MOSCOW,
    Call,
    call,
    changes,
    day_of,
    fetched,
    load,
    load_all,
    load_days,
    moment_of,
    row,
    rows,
)
from callkeeper_assets_tests.warehouse.test_loader import row_versions

CALLS, FACTS = "callkeeper_calls", "callkeeper_calls_facts"
ORIGINS = "SELECT call_id, origin FROM callkeeper_calls ORDER BY call_id"
SUCCESSFUL = {CALLS: [Filter("status", "eq", "success")]}


def tell(
    url: str,
    calls: Sequence[Call],
    *,
    tables: Sequence[str] = SELECTABLE_TABLES,
    filters: Mapping[str, Sequence[Filter]] | None = None,
) -> list[LoadedDay]:
    """Load calls as webhooks tell of them, one a minute of the day."""
    results = load_days(
        url,
        MAIN,
        [day_of(DAY, calls)],
        tables=tables,
        filters=filters or {},
        run_id="inbox",
        origin="webhook",
    )
    return [result for result in results if isinstance(result, LoadedDay)]


def answer(calls: Sequence[Call], stays_from: datetime | None) -> Day:
    """The source's answer for the day."""
    day = day_of(DAY, calls)
    return fetched(day, stays_from) if stays_from else day


def test_a_webhooks_call_has_its_facts_dimensions_and_log_rows(database: str) -> None:
    reported = tell(database, [call(7, duration2_sec=None)])
    # The receiver makes the source's row of general_accounts.
    assert changes(reported) == dict.fromkeys(SELECTABLE_TABLES[1:], (1, 0, 0))
    stored = row(database, CALLS)
    assert (stored["call_id"], stored["origin"], stored["status"]) == (7, "webhook", "success")
    facts = row(database, FACTS)
    assert (facts["calls_id"], facts["duration_sec"], facts["duration2_sec"]) == (
        stored["id"],
        65,
        None,
    )
    logged = rows(
        database,
        "SELECT DISTINCT origin, run_id, sum(rows_added) FROM callkeeper_loads GROUP BY 1,2",
    )
    assert logged == [("webhook", "inbox", len(SELECTABLE_TABLES) - 1)]
    assert rows(database, "SELECT count(*) FROM callkeeper_days") == [(0,)], "no answer came yet"


def test_other_calls_of_the_day_are_not_touched(database: str) -> None:
    load_all(database, [day_of(DAY, [call(1), call(2)])])
    before = row_versions(database)[CALLS]
    tell(database, [call(5)])
    assert set(before) < set(row_versions(database)[CALLS])
    assert rows(database, ORIGINS) == [(1, "api"), (2, "api"), (5, "webhook")]


def test_the_source_s_record_replaces_a_webhooks_and_is_never_overwritten(database: str) -> None:
    tell(database, [call(7, status_code=1, status2_code=0, duration_sec=None)])
    assert row(database, CALLS)["status"] == "in_progress"
    key = row(database, CALLS)["id"]
    assert changes(load_all(database, [day_of(DAY, [call(7)])])) == {
        CALLS: (0, 1, 0),
        FACTS: (0, 1, 0),
        "general_accounts": (0, 1, 0),
    }
    stored = row(database, CALLS)
    assert (stored["id"], stored["status"], stored["origin"]) == (key, "success", "api")
    before = row_versions(database)
    assert changes(tell(database, [call(7, tags="late", duration_sec=1)])) == {}
    assert row_versions(database) == before


def test_a_newer_word_of_webhooks_updates_their_own_row_alone(database: str) -> None:
    tell(database, [call(7, status_code=1, status2_code=0)])
    assert changes(tell(database, [call(7)])) == {CALLS: (0, 1, 0), FACTS: (0, 1, 0)}
    assert changes(tell(database, [call(7)])) == {}


def test_a_call_that_the_source_does_not_show_stays_as_long_as_it_may(database: str) -> None:
    tell(database, [call(7), call(8)])  # at minutes 0 and 1 of the day
    stays_from = moment_of(DAY, 1)
    (loaded,) = load_all(database, [answer([call(1)], stays_from)])
    assert rows(database, ORIGINS) == [(1, "api"), (8, "webhook")]
    assert (loaded.counts[CALLS].deleted, loaded.counts[FACTS].deleted) == (1, 1)
    assert (loaded.rows[CALLS], loaded.unconfirmed) == (1, {CALLS: 1, FACTS: 1})
    (loaded,) = load_all(database, [answer([call(1)], None)])
    assert rows(database, ORIGINS) == [(1, "api")]
    assert loaded.unconfirmed == {}


def test_days_with_calls_that_only_webhooks_reported_are_read_again(database: str) -> None:
    tell(database, [call(7)])
    after = DAY + timedelta(days=5)
    assert unsettled_days(database, MAIN.name, MOSCOW, after) == [DAY]
    assert unsettled_days(database, MAIN.name, MOSCOW, DAY) == []
    load_all(database, [day_of(DAY, [call(7)])])
    assert unsettled_days(database, MAIN.name, MOSCOW, after) == []


def test_the_guard_does_not_count_what_the_source_never_sent(database: str) -> None:
    load_all(database, [day_of(DAY, [call(n) for n in range(1, 31)])])
    tell(database, [call(n) for n in range(100, 200)])
    (loaded,) = load(database, [answer([call(n) for n in range(1, 31)], None)])
    assert isinstance(loaded, LoadedDay)
    assert loaded.counts[CALLS].deleted == 100
    tell(database, [call(n) for n in range(100, 200)])
    (refused,) = load(database, [answer([call(n) for n in range(1, 8)], None)])
    assert isinstance(refused, RefusedDay)
    assert "23 of 30 calls are gone" in refused.reason


def test_filters_hold_for_webhooks_too(database: str) -> None:
    ringing = call(7, status_code=1, status2_code=0)
    tell(database, [ringing], filters=SUCCESSFUL)
    assert rows(database, ORIGINS) == []
    tell(database, [call(7)], filters=SUCCESSFUL)
    assert rows(database, ORIGINS) == [(7, "webhook")]
    reported = tell(database, [call(7, status_code=200, status2_code=486)], filters=SUCCESSFUL)
    assert rows(database, ORIGINS) == []
    assert reported[0].counts[CALLS].deleted == 1


@pytest.mark.parametrize("tables", [[CALLS], ["general_dates", "general_sites"]])
def test_only_chosen_tables_get_rows_of_webhooks(database: str, tables: list[str]) -> None:
    reported = tell(database, [call(7)], tables=tables)
    assert sorted(changes(reported)) == sorted(tables)
    assert rows(database, f"SELECT count(*) FROM {FACTS}") == [(0,)]


def test_a_call_that_the_source_puts_on_another_day_moves_there(database: str) -> None:
    tell(database, [call(7)])
    other = DAY + timedelta(days=1)
    load_all(database, [day_of(other, [call(7)])])
    assert rows(database, ORIGINS) == [(7, "api")]
    assert row(database, CALLS)["called_at"] == moment_of(other, 0)
