"""A load ends in the tables that the source's calls say, and tells what it changed."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import psycopg
import pytest

from callkeeper_assets.raw.store import Day
from callkeeper_assets.warehouse.filters import Filter
from callkeeper_assets.warehouse.loader import log_failure
from callkeeper_assets.warehouse.records import (
    Account,
    BadDataError,
    RefusedDay,
    UnavailableError,
)
from callkeeper_assets.warehouse.tables import SELECTABLE_TABLES, TABLES
from callkeeper_assets_tests.templates import from_nothing
from callkeeper_assets_tests.warehouse.raw_days import (
    DAY,
    MAIN,
    MOSCOW,
    call,
    changes,
    day_of,
    fetched,
    load,
    load_all,
    load_days,
    moment_of,
    raw_day,
    row,
    rows,
)

NEXT_DAY = DAY + timedelta(days=1)
CALLS, FACTS = "callkeeper_calls", "callkeeper_calls_facts"


def row_versions(url: str) -> dict[str, list[tuple[object, ...]]]:
    """Return what identifies each stored version of each row but the load log's."""
    return {
        name: rows(url, f"SELECT ctid::text, xmin::text FROM {name} ORDER BY 1")
        for name in TABLES
        if name != "callkeeper_loads"
    }


@from_nothing
def test_a_call_and_its_facts_are_stored_with_their_dimensions(database: str) -> None:
    (loaded,) = load_all(database, [day_of(DAY, [call(7)])])
    assert loaded.raw_calls == 1
    assert loaded.rows == dict.fromkeys(SELECTABLE_TABLES, 1)
    assert {t: c.added for t, c in loaded.counts.items()} == dict.fromkeys(SELECTABLE_TABLES, 1)
    stored = row(database, CALLS)
    assert (stored["call_id"], stored["status"], stored["origin"]) == (7, "success", "api")
    assert stored["called_at"] == datetime(2026, 3, 1, 21, 0, tzinfo=UTC)
    facts = row(database, FACTS)
    assert facts["calls_id"] == stored["id"]
    assert (facts["duration_sec"], facts["attempt"], facts["asr_attempts"]) == (65, 1, None)
    assert row(database, "general_sites", f"id = {facts['sites_id']}")["domain"] == "okna.example"
    assert row(database, "general_clientids", f"id = {facts['clientids_id']}")["userid"] == "ya7"
    assert row(database, "general_locations", f"id = {facts['locations_id']}")["city"] == "Москва"
    assert row(database, "general_traffic", f"id = {facts['traffic_id']}")["grouping"] == "paid"
    minute = row(database, "general_dates", f"id = {facts['dates_id']}")
    assert minute["full_date"] == datetime(2026, 3, 2)  # noqa: DTZ001 -- a wall clock's
    assert (minute["quarter_label"], minute["month_label"]) == ("I", "Март")
    assert (minute["weekday"], minute["weekday_label"], minute["week"]) == (1, "Понедельник", 10)
    account = row(database, "general_accounts", "name = 'main_office'")
    assert stored["account_id"] == facts["account_id"] == account["account_id"]
    assert (account["interval_start"], account["interval_end"]) == (DAY, DAY)
    assert (account["status"], account["service"]) == ("loaded", "CallKeeper")


def test_a_second_load_changes_nothing_and_rewrites_no_row(database: str) -> None:
    days = [day_of(DAY, [call(n) for n in range(1, 30)]), day_of(NEXT_DAY, [call(50)])]
    load_all(database, days)
    before = row_versions(database)
    assert changes(load_all(database, days)) == {}
    assert row_versions(database) == before


def test_each_change_is_counted_once_on_its_day(database: str) -> None:
    load_all(database, [day_of(DAY, [call(1), call(2), call(3)]), day_of(NEXT_DAY, [call(9)])])
    results = load_all(
        database,
        [
            day_of(DAY, [call(1), call(2, tags="late"), call(4)]),
            day_of(NEXT_DAY, [call(9, attempt=2)]),
        ],
    )
    assert changes(results[:1]) == {
        CALLS: (1, 1, 1),
        FACTS: (1, 0, 1),
        "general_clientids": (1, 0, 0),
    }
    assert changes(results[1:]) == {FACTS: (0, 1, 0)}
    assert rows(database, f"SELECT call_id FROM {CALLS} ORDER BY 1") == [(1,), (2,), (4,), (9,)]
    assert row(database, CALLS, "call_id = 2")["tags"] == "late"


def test_loaded_at_changes_only_with_a_value(database: str) -> None:
    load_all(database, [day_of(DAY, [call(1), call(2)])])
    before = dict(rows(database, f"SELECT call_id, loaded_at FROM {CALLS}"))
    load_all(database, [day_of(DAY, [call(1), call(2, tags="new")])])
    after = dict(rows(database, f"SELECT call_id, loaded_at FROM {CALLS}"))
    assert after[1] == before[1]
    assert after[2] > before[2]


def test_a_call_that_moved_to_another_day_is_updated_and_keeps_its_id(database: str) -> None:
    load_all(database, [day_of(DAY, [call(1), call(2)])])
    old = row(database, CALLS, "call_id = 2")["id"]
    assert changes(load_all(database, [day_of(NEXT_DAY, [call(2)])])) == {
        CALLS: (0, 1, 0),
        FACTS: (0, 1, 0),
        "general_accounts": (0, 1, 0),
        "general_dates": (1, 0, 0),
    }
    assert row(database, CALLS, "call_id = 2")["id"] == old
    assert changes(load_all(database, [day_of(DAY, [call(1)])])) == {}


def test_two_sources_share_dimensions_but_no_calls(database: str) -> None:
    other = Account("second", "Second office", MOSCOW)
    load_all(database, [day_of(DAY, [call(1)])])
    assert changes(load_all(database, [day_of(DAY, [call(1)])], other)) == {
        CALLS: (1, 0, 0),
        FACTS: (1, 0, 0),
        "general_accounts": (1, 0, 0),
    }
    assert changes(load_all(database, [day_of(DAY, [])], other, force=True)) == {
        CALLS: (0, 0, 1),
        FACTS: (0, 0, 1),
    }
    assert rows(database, f"SELECT count(*) FROM {CALLS}") == [(1,)]


def test_the_caption_follows_the_configuration(database: str) -> None:
    load_all(database, [day_of(DAY, [call(1)])])
    renamed = Account(MAIN.name, "Head office", MOSCOW)
    assert changes(load_all(database, [day_of(DAY, [call(1)])], renamed)) == {
        "general_accounts": (0, 1, 0)
    }
    assert row(database, "general_accounts", "id > 1")["caption"] == "Head office"


def test_an_empty_day_is_loaded_and_remembered(database: str) -> None:
    (loaded,) = load_all(database, [day_of(DAY, [])])
    assert (loaded.raw_calls, loaded.rows[CALLS]) == (0, 0)
    assert rows(database, "SELECT day, raw_calls FROM callkeeper_days") == [(DAY, 0)]


def test_tables_that_are_not_chosen_get_no_rows_and_keys_of_one(database: str) -> None:
    tables = [FACTS, CALLS, "general_dates", "general_traffic"]
    (loaded,) = load_all(database, [day_of(DAY, [call(1)])], tables=tables)
    assert set(loaded.rows) == {*tables, "general_accounts"}
    facts = row(database, FACTS)
    assert (facts["sites_id"], facts["clientids_id"], facts["locations_id"]) == (1, 1, 1)
    assert facts["traffic_id"] > 1
    assert rows(database, "SELECT count(*) FROM general_sites") == [(1,)]


def test_facts_of_a_table_that_is_chosen_no_more_are_deleted(database: str) -> None:
    load_all(database, [day_of(DAY, [call(1)])])
    results = load_all(database, [day_of(DAY, [call(1)])], tables=[CALLS])
    assert changes(results) == {FACTS: (0, 0, 1)}
    assert changes(load_all(database, [day_of(DAY, [call(1)])])) == {FACTS: (1, 0, 0)}


def test_a_changed_filter_deletes_and_brings_back_rows_without_the_guard(database: str) -> None:
    calls = [call(n, status_code=200 if n % 5 == 0 else 486, status2_code=0) for n in range(50)]
    only_some = {FACTS: [Filter("status_code", "eq", 200)]}
    load_all(database, [day_of(DAY, calls)])
    assert changes(load_all(database, [day_of(DAY, calls)], filters=only_some)) == {
        FACTS: (0, 0, 40)
    }
    assert changes(load_all(database, [day_of(DAY, calls)])) == {FACTS: (40, 0, 0)}


def test_a_filter_of_calls_holds_for_facts_too(database: str) -> None:
    filters = {CALLS: [Filter("tags", "eq", "vip")]}
    (loaded,) = load_all(database, [day_of(DAY, [call(1), call(2, tags="vip")])], filters=filters)
    assert (loaded.raw_calls, loaded.rows[CALLS], loaded.rows[FACTS]) == (2, 1, 1)


def test_a_row_that_a_dimensions_filter_drops_has_the_key_one(database: str) -> None:
    filters = {
        "general_sites": [Filter("domain", "ne", "okna.example")],
        "general_dates": [Filter("hour", "ge", 1), Filter("city", "eq", "Москва")],
    }
    load_all(database, [day_of(DAY, [call(1), call(2, site="b.example")])], filters=filters)
    assert rows(database, f"SELECT dates_id, sites_id > 1 FROM {FACTS} ORDER BY calls_id") == [
        (1, False),
        (1, True),
    ]


def test_an_empty_day_that_had_calls_is_refused_and_the_others_are_loaded(database: str) -> None:
    load_all(database, [day_of(DAY, [call(1)])])
    refused, loaded = load(database, [day_of(DAY, []), day_of(NEXT_DAY, [call(2)])])
    assert isinstance(refused, RefusedDay)
    assert "sends no calls for a day that had 1" in refused.reason
    assert "callkeeper load main_office --from 2026-03-02 --to 2026-03-02 --force" in refused.reason
    assert loaded.day == NEXT_DAY
    assert rows(database, f"SELECT call_id FROM {CALLS} ORDER BY 1") == [(1,), (2,)]
    assert rows(database, "SELECT error FROM callkeeper_loads WHERE error IS NOT NULL") == [
        (refused.reason,)
    ]
    assert changes(load_all(database, [day_of(DAY, [])], force=True)) == {
        CALLS: (0, 0, 1),
        FACTS: (0, 0, 1),
    }


def test_a_loss_that_filters_hide_is_refused_all_the_same(database: str) -> None:
    calls = [call(n, tags="vip" if n < 3 else None) for n in range(60)]
    filters = {CALLS: [Filter("tags", "eq", "vip")]}
    load_all(database, [day_of(DAY, calls)], filters=filters)
    (result,) = load(database, [day_of(DAY, calls[:30])], filters=filters)
    assert isinstance(result, RefusedDay)
    assert "30 of 60 calls are gone" in result.reason


def test_another_accounts_calls_in_place_of_a_days_own_are_refused(database: str) -> None:
    load_all(database, [day_of(DAY, [call(n) for n in range(100, 150)])])
    (result,) = load(database, [day_of(DAY, [call(n) for n in range(500, 550)])])
    assert isinstance(result, RefusedDay)
    assert "50 of 50 calls are gone" in result.reason


def test_the_log_says_what_was_done_to_each_table(database: str) -> None:
    load_all(database, [day_of(DAY, [call(1), call(2)])])
    logged = rows(
        database,
        "SELECT table_name, day, rows_added, origin, run_id, error, finished_at >= started_at "
        "FROM callkeeper_loads ORDER BY id",
    )
    assert [entry[0] for entry in logged] == list(SELECTABLE_TABLES)
    assert {entry[0]: entry[2] for entry in logged}[FACTS] == 2
    assert {entry[1:2] + entry[3:] for entry in logged} == {(DAY, "api", "run", None, True)}


def test_a_failure_is_logged_for_each_day(database: str) -> None:
    log_failure(database, MAIN, [DAY, NEXT_DAY], "run", "the source did not answer")
    assert rows(database, "SELECT day, error, table_name FROM callkeeper_loads ORDER BY id") == [
        (DAY, "the source did not answer", None),
        (NEXT_DAY, "the source did not answer", None),
    ]
    assert rows(database, "SELECT count(*) FROM callkeeper_days") == [(0,)]


def test_non_final_calls_and_unknown_fields_are_reported(database: str) -> None:
    calls = [call(1), call(2, status_code=1, status2_code=0), call(3, brand_new=1)]
    (loaded,) = load_all(database, [day_of(DAY, calls)])
    assert (loaded.non_final, loaded.unknown_fields) == (1, ("brand_new",))


def test_bad_data_in_a_batch_leaves_what_was_there(database: str) -> None:
    load_all(database, [day_of(DAY, [call(1)])])
    broken = raw_day(NEXT_DAY, [(2, moment_of(NEXT_DAY, 5), '{"id":')])
    with pytest.raises(BadDataError):
        load(database, [day_of(DAY, [call(1, tags="x")]), broken])
    assert row(database, CALLS)["tags"] is None


def test_a_row_changed_by_hand_is_healed(database: str) -> None:
    load_all(database, [day_of(DAY, [call(1), call(2), call(3)])])
    with psycopg.connect(database) as connection:
        connection.execute(f"UPDATE {FACTS} SET duration_sec = 1".encode())
        connection.execute(f"UPDATE {CALLS} SET client_phone = '?' WHERE call_id = 1".encode())
        connection.execute(f"DELETE FROM {FACTS} WHERE attempt = 1 AND calls_id % 2 = 1".encode())
        gone = connection.execute(f"SELECT 3 - count(*) FROM {FACTS}".encode()).fetchone()
    assert gone is not None
    found = changes(load_all(database, [day_of(DAY, [call(1), call(2), call(3)])]))
    assert found == {CALLS: (0, 1, 0), FACTS: (gone[0], 3 - gone[0], 0)}


def test_a_value_of_any_length_finds_its_row_again(database: str) -> None:
    long = "https://okna.example/?" + "x" * 100_000
    visit = {"current": {"src": "a"}, "current_add": {"ep": long}}
    days = [day_of(DAY, [call(1, visit_info=visit), call(2, visit_info=visit)])]
    load_all(database, days)
    assert changes(load_all(database, days)) == {}
    assert rows(database, "SELECT length(landing_page) FROM general_traffic WHERE id > 1") == [
        (len(long),)
    ]


def test_days_are_taken_lazily_and_reported_as_they_are_committed(database: str) -> None:
    taken: list[date] = []

    def endless() -> Iterator[Day]:
        for n in range(1000):
            day = DAY + timedelta(days=n)
            taken.append(day)
            yield day_of(day, [call(n)])

    results = load_days(
        database, MAIN, endless(), tables=SELECTABLE_TABLES, filters={}, run_id="run"
    )
    assert next(results).day == DAY
    assert len(taken) < 100
    assert rows(database, f"SELECT count(*) > 0 FROM {CALLS}") == [(True,)]
    results.close()  # type: ignore[attr-defined]


def test_ids_are_small_and_have_no_gaps_after_reloads(database: str) -> None:
    days = [day_of(DAY, [call(n) for n in range(10)])]
    for _ in range(3):
        load_all(database, days)
    load_all(database, [day_of(NEXT_DAY, [call(99)])])
    assert rows(database, f"SELECT max(id) FROM {CALLS}") == [(11,)]
    assert rows(database, "SELECT max(id) FROM general_clientids") == [(12,)]


def test_an_error_of_the_database_holds_no_phone(database: str) -> None:
    load_all(database, [day_of(DAY, [call(1)])])
    with psycopg.connect(database) as connection:
        connection.execute(
            f"ALTER TABLE {CALLS} ADD CHECK (client_phone <> '+70000000002')".encode()
        )
    with pytest.raises(Exception, match="callkeeper_calls") as caught:
        load(database, [day_of(DAY, [call(1), call(2)])])
    assert "+7000" not in str(caught.value)
    assert json.dumps(call(2))[:40] not in str(caught.value)


def test_a_server_that_ends_the_connection_leaves_the_day_as_it_was(database: str) -> None:
    load_all(database, [day_of(DAY, [call(1)])])
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            """
            CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END';
            CREATE TRIGGER cut AFTER INSERT ON callkeeper_loads EXECUTE FUNCTION cut()
            """
        )
        with pytest.raises(UnavailableError, match="Nothing of this batch is stored; try again"):
            load(database, [day_of(DAY, [call(1, tags="x"), call(2)])])
        connection.execute("DROP TRIGGER cut ON callkeeper_loads")
    assert rows(database, f"SELECT call_id, tags FROM {CALLS}") == [(1, None)]
    assert changes(load_all(database, [day_of(DAY, [call(1, tags="x"), call(2)])])) == {
        CALLS: (1, 1, 0),
        FACTS: (1, 0, 0),
    }


def test_a_batch_is_merged_while_the_next_ones_days_are_waited_for(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callkeeper_assets.warehouse.loader._BATCH_DAYS", 4)
    order: list[tuple[str, date]] = []
    dates = [DAY + timedelta(days=number) for number in range(9)]

    def answer() -> Iterator[Day]:
        for number, day in enumerate(dates):
            order.append(("asked for", day))
            # The second batch's days, and the first of a third.
            time.sleep(0.5 if number >= 4 else 0)
            yield day_of(day, [call(1 + number)])

    loading = load_days(
        database, MAIN, answer(), tables=SELECTABLE_TABLES, filters={}, run_id="run"
    )
    for loaded in loading:
        order.append(("loaded", loaded.day))  # noqa: PERF401 -- answer() appends meanwhile
    done = [place for place, (what, _) in enumerate(order) if what == "loaded"]
    assert [order[place][1] for place in done] == dates
    # Without waiting they would be merged when the second batch is whole.
    assert done[3] < order.index(("asked for", dates[8]))


def test_an_answer_that_is_older_than_the_loaded_one_changes_nothing(database: str) -> None:
    """Another run may fetch and load a day after this one has read it."""
    earlier = datetime(2026, 3, 3, 5, tzinfo=UTC)
    older = fetched(day_of(DAY, [call(1, duration_sec=1)]), earlier)
    newer = fetched(day_of(DAY, [call(1, duration_sec=2)]), earlier + timedelta(minutes=1))
    load_all(database, [newer])
    before = row_versions(database)
    (outdated,) = load(database, [older])
    assert isinstance(outdated, RefusedDay)
    assert outdated.is_outdated
    assert outdated.reason.startswith(
        "main_office, 2026-03-02: the raw calls were fetched at 2026-03-03 05:00:00 UTC, the "
        "tables hold an answer of 2026-03-03 05:01:00 UTC. The day is left as it was. Load it anew"
    )
    assert row_versions(database) == before
    assert rows(database, "SELECT count(*) FROM callkeeper_loads WHERE error IS NOT NULL") == [(0,)]
    assert changes(load_all(database, [newer])) == {}
    load_all(database, [older], force=True)
    assert row(database, FACTS)["duration_sec"] == 1
