"""The wide views: what is declared is there, and each call is one row of what the star says."""

import csv
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from importlib.resources import files
from zoneinfo import ZoneInfo

import psycopg
import pytest

from callkeeper_assets.warehouse.dimension_rows import count_orphans, delete_orphans
from callkeeper_assets.warehouse.filters import Filter
from callkeeper_assets.warehouse.migrate import VERSION_TABLE, allow_lack_of_facts, ensure_schema
from callkeeper_assets.warehouse.outcomes import OUTCOMES, build_outcome_sql, outcome_of
from callkeeper_assets.warehouse.records import SchemaError
from callkeeper_assets.warehouse.schema import CALLS
from callkeeper_assets.warehouse.views import COLUMNS, DESCRIPTION, VIEWS, name_of
from callkeeper_assets_tests.templates import from_nothing
from callkeeper_assets_tests.warehouse.raw_days import (
    DAY,
    MAIN,
    call,
    changes,
    day_of,
    day_of_minutes,
    load_all,
    raw_day,
    row,
    rows,
)

_OMSK = ZoneInfo("Asia/Omsk")
NEXT = DAY + timedelta(days=1)


def _labels() -> dict[tuple[int, int], str]:
    text = (files("callkeeper_assets.simulator") / "statuses.csv").read_text("utf-8")
    return {
        (int(one["status_code"]), int(one["status2_code"])): one["label_ru"].strip()
        for one in csv.DictReader(text.splitlines())
    }


def test_every_pair_that_the_cabinet_knows_has_one_outcome() -> None:
    listed = [pair for outcome in OUTCOMES for pair in outcome.pairs]
    assert len({pair[:2] for pair in listed}) == len(listed)
    assert {pair[:2]: pair[2] for pair in listed} == _labels()


def test_the_views_are_what_is_declared_and_say_it_in_both_languages(database: str) -> None:
    for view in VIEWS:
        found = rows(
            database,
            f"""
            SELECT a.attname, format_type(a.atttypid, a.atttypmod),
                col_description(a.attrelid, a.attnum)
            FROM pg_attribute AS a WHERE a.attrelid = '"{view}"'::regclass AND a.attnum > 0
            ORDER BY a.attnum
            """,
        )
        assert found == [(name_of(one, view), one.type, one.comment) for one in COLUMNS]
        described = rows(database, f"""SELECT obj_description('"{view}"'::regclass, 'pg_class')""")
        assert described == [(DESCRIPTION,)]


def test_outcomes_in_sql_are_those_of_the_table_of_pairs(database: str) -> None:
    """Also of pairs that no table has, of a second code that is missing, and of call tracking."""
    pairs = [*_labels(), (200, 999), (999, 0), (487, 200), (200, None), (None, None), (None, 200)]
    services = ("callback", "calltracking", "import", None)
    with psycopg.connect(database) as connection:
        connection.execute(
            "INSERT INTO general_accounts (id, account_id, service, enabled, name, lacks_facts) "
            "VALUES (2, 2, 'CallKeeper', true, 'main', false)"
        )
        connection.commit()
        allow_lack_of_facts(database, 2)
        for service in services:
            for code, code2 in pairs:
                is_final = code not in {1, 2, 707}
                status = "success" if (code, code2) == (200, 200) else None
                connection.execute(
                    "INSERT INTO callkeeper_calls (account_id, call_id, called_at, is_final, "
                    "origin, loaded_at, status, status_code, status2_code, service) "
                    "SELECT 2, count(*), now(), %s, 'api', now(), %s, %s, %s, %s "
                    "FROM callkeeper_calls",
                    (is_final, status, code, code2, service),
                )
        found = connection.execute(
            'SELECT v.outcome, r."Итог", v.status_code, v.status2_code, v.service '
            'FROM calls AS v JOIN звонки AS r ON r."ID звонка" = v.call_id'
        ).fetchall()
    assert len(found) == len(pairs) * len(services)
    labels = {one.name: one.label_ru for one in OUTCOMES}
    for outcome, label, *codes in found:
        assert outcome == outcome_of(*codes), codes
        assert label == labels[outcome]
    assert outcome_of(200, 487, "calltracking") == "missed_by_manager"
    assert outcome_of(200, 487) == "missed_by_client"
    assert outcome_of(999, 0) == outcome_of(None, None) == "unknown"


def test_a_call_is_one_row_with_what_the_star_says(database: str) -> None:
    """Across New Year: 2026-01-01 is of week 1 that began in December."""
    day = date(2026, 1, 1)
    moment = datetime(2025, 12, 31, 18, 30, 15, tzinfo=UTC)
    plain = call(7, order_date="2025-12-31 18:29:45")
    omsk = replace(MAIN, time_zone=_OMSK)
    load_all(database, [raw_day(day, [(7, moment, json.dumps(plain))])], omsk)
    found = row(database, "calls")
    assert {name: found[name] for name in found if name not in {"loaded_at", "account_id"}} == {
        "account": "Main office",
        "call_id": 7,
        "local_time": datetime(2026, 1, 1, 0, 30, 15),  # noqa: DTZ001 -- a clock on the wall
        "date": day,
        "year": 2026,
        "quarter": 1,
        "month": 1,
        "month_name": "January",
        "month_start": day,
        "week_year": 2026,
        "week": 1,
        "week_start": date(2025, 12, 29),
        "weekday": 4,
        "weekday_name": "Thursday",
        "hour": 0,
        "called_at": moment,
        "ordered_at": datetime(2025, 12, 31, 18, 29, 45, tzinfo=UTC),
        "outcome": "answered",
        "status": "success",
        "is_final": True,
        "status_code": 200,
        "status2_code": 200,
        "attempt": 1,
        "wait_sec": 30,
        "answer_sec": 15,
        "duration_sec": 65,
        "talk_sec": 50,
        "duration_min": 2,
        "talk_min": 1,
        "manager": "+70000000001 ext. 42",
        "manager_phone": "+70000000001",
        "manager_extension": "42",
        "client_phone": "+70000000007",
        "service": "callback",
        "event_source": "widget",
        "connection_type": "digital_dtmf",
        "widget": "Основной",
        "traffic_type": "paid",
        "source": "yandex",
        "medium": "cpc",
        "campaign": "windows",
        "content": None,
        "term": None,
        "landing_page": "https://okna.example/?a=1",
        "first_traffic_type": "organic",
        "first_source": "google",
        "first_medium": "organic",
        "first_campaign": None,
        "site": "okna.example",
        "page": "https://okna.example/price",
        "country": "RU",
        "region": "Москва",
        "city": "Москва",
        "visit": 2,
        "pages": 3,
        "ga_client_id": "ga.7",
        "ym_client_id": "ya7",
        "tags": None,
        "has_recording": True,
        "recording": "https://records.example/1.mp3",
        "origin": "api",
    }
    russian = row(database, "звонки")
    assert russian["День недели"] == "Четверг"
    assert russian["Название месяца"] == "Январь"
    assert russian["Менеджер"] == "+70000000001 доб. 42"
    assert russian["Статус"] == "успешный"
    assert russian["Время"] == found["local_time"]


def test_a_call_is_a_row_even_where_dimensions_are_not_chosen_or_filtered(database: str) -> None:
    calls = [call(1), call(2, status_code=487, status2_code=0, duration2_sec=None)]
    load_all(database, [day_of(DAY, calls)], tables=["callkeeper_calls"])
    statement = "SELECT call_id, outcome, date, source, ga_client_id FROM calls ORDER BY 1"
    assert rows(database, statement) == [
        (1, "answered", None, None, None),
        (2, "missed_by_manager", None, None, None),
    ]
    late = {"general_dates": [Filter("hour", "gt", 20)]}
    load_all(database, [day_of(DAY, calls)], filters=late, force=True)
    assert rows(database, statement) == [
        (1, "answered", None, "yandex", "ga.1"),
        (2, "missed_by_manager", None, "yandex", "ga.2"),
    ]


def test_what_most_people_ask_reads_the_facts_alone(database: str) -> None:
    load_all(database, [day_of(DAY, [call(1), call(2)])])
    asked = "SELECT outcome, is_final, has_recording, manager, client_phone, hour, attempt"
    lines = [str(line) for line in rows(database, f"EXPLAIN {asked} FROM calls")]
    read = [line.partition(" on ")[2].split()[0] for line in lines if " on " in line]
    assert read == ["callkeeper_calls_facts"], lines


@pytest.mark.parametrize(
    ("column", "most"), [("hour", 24), ("weekday_name", 7), ("week_start", 1), ("month_start", 1)]
)
def test_the_server_knows_how_many_groups_there_are(database: str, column: str, most: int) -> None:
    """Else it sorts all rows to group them: an expression in statistics has to be the view's."""
    minutes = day_of_minutes(DAY, ((7 * number, call(number)) for number in range(1, 200)))
    load_all(database, [minutes, day_of(NEXT, [call(1_000)])])
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("ANALYZE callkeeper_calls_facts")
        plan = connection.execute(
            f"EXPLAIN (FORMAT json) SELECT {column}, count(*) FROM calls GROUP BY 1".encode()
        ).fetchone()
    assert plan is not None
    assert plan[0][0]["Plan"]["Plan Rows"] <= most


def test_facts_have_the_outcome_of_each_pair_of_codes(database: str) -> None:
    """As DuckDB finds it for them, and PostgreSQL of the call."""
    pairs = [*_labels(), (200, 999), (999, 0), (487, 200), (200, None), (None, None), (None, 200)]
    calls = [
        call(number, status_code=code, status2_code=code2)
        for number, (code, code2) in enumerate(pairs, start=1)
    ]
    load_all(database, [day_of(DAY, calls)])
    found = rows(
        database,
        f"SELECT c.status_code, c.status2_code, f.outcome, {build_outcome_sql()} "
        "FROM callkeeper_calls_facts AS f JOIN callkeeper_calls AS c ON c.id = f.calls_id",
    )
    assert len(found) == len(pairs)
    for code, code2, outcome, of_call in found:
        assert outcome == of_call == outcome_of(code, code2), (code, code2)


def test_who_reads_the_views_is_waited_for_by_the_first_load_without_facts(database: str) -> None:
    load_all(database, [day_of(DAY, [call(1)])])
    reading, ended = threading.Event(), threading.Event()

    def read() -> None:
        with psycopg.connect(database) as connection:
            connection.execute("SELECT count(*) FROM calls")
            reading.set()
            # Longer than a change waits for its locks, and shorter than it tries.
            ended.wait(3)

    with ThreadPoolExecutor(1) as thread:
        reader = thread.submit(read)
        reading.wait()
        load_all(database, [day_of(DAY, [call(7)])], replace(MAIN, name="branch"), tables=[CALLS])
        reader.result()
    assert rows(database, "SELECT call_id FROM calls ORDER BY 1") == [(1,), (7,)]


def test_calls_without_facts_are_rows_beside_sources_that_have_them(database: str) -> None:
    """From the first load on that may leave one; what reads the view, and may, goes on."""
    load_all(database, [day_of(DAY, [call(1), call(2)])])
    with psycopg.connect(database) as connection:
        connection.execute("CREATE VIEW mine AS SELECT call_id, outcome, client_phone FROM calls")
    other = replace(MAIN, name="branch")
    load_all(database, [day_of(DAY, [call(7)])], other, tables=["callkeeper_calls"])
    asked = "SELECT call_id, outcome, client_phone, hour FROM calls ORDER BY 1"
    assert rows(database, asked) == [
        (1, "answered", "+70000000001", 0),
        (2, "answered", "+70000000002", 0),
        (7, "answered", "+70000000007", None),
    ]
    assert [one[0] for one in rows(database, "SELECT call_id FROM mine ORDER BY 1")] == [1, 2, 7]
    russian = 'SELECT "Менеджер", "Итог" FROM звонки WHERE "ID звонка" = 7'
    assert rows(database, russian) == [("+70000000001 доб. 42", "Состоялся")]
    filtered = {"callkeeper_calls_facts": [Filter("duration_sec", "gt", 100)]}
    load_all(database, [day_of(DAY, [call(1), call(2)])], filters=filtered)
    assert [one[:2] for one in rows(database, asked)][:2] == [(1, "answered"), (2, "answered")]
    assert rows(
        database, "SELECT name, lacks_facts FROM general_accounts WHERE id <> 1 ORDER BY id"
    ) == [
        (MAIN.name, True),
        ("branch", True),
    ]


def test_a_view_that_somebody_has_changed_stops_the_load_and_says_so(database: str) -> None:
    load_all(database, [day_of(DAY, [call(1)])])
    with psycopg.connect(database) as connection:
        connection.execute("ALTER VIEW calls RENAME COLUMN outcome TO result")
    branch = replace(MAIN, name="branch")
    with pytest.raises(SchemaError, match="DROP VIEW"):
        load_all(database, [day_of(DAY, [call(7)])], branch, tables=[CALLS])
    assert rows(database, "SELECT call_id, result FROM calls") == [(1, "answered")]
    with psycopg.connect(database) as connection:
        connection.execute("DROP VIEW calls")
    load_all(database, [day_of(DAY, [call(7)])], branch, tables=[CALLS])
    assert rows(database, "SELECT call_id FROM calls ORDER BY 1") == [(1,), (7,)]


def test_facts_follow_what_their_call_says(database: str) -> None:
    """A call that changes in what both tables have changes in both; nothing else is written."""
    asked = "SELECT call_id, outcome, is_final, has_recording, manager, client_phone FROM calls"
    planned = call(1, status_code=2, status2_code=0, record_url=None)
    load_all(database, [day_of(DAY, [planned, call(2)])])
    assert rows(database, f"{asked} WHERE call_id = 1") == [
        (1, "in_progress", False, False, "+70000000001 ext. 42", "+70000000001")
    ]
    days = [day_of(DAY, [call(1, phone1="79990000000^7"), call(2)])]
    loaded = load_all(database, days)
    assert rows(database, f"{asked} WHERE call_id = 1") == [
        (1, "answered", True, True, "79990000000 ext. 7", "+70000000001")
    ]
    assert changes(loaded)["callkeeper_calls_facts"] == changes(loaded)["callkeeper_calls"]
    assert changes(load_all(database, days)) == {}


@from_nothing
def test_a_name_that_somebody_has_stays_theirs(database: str) -> None:
    with psycopg.connect(database) as connection:
        connection.execute("CREATE TABLE calls (mine int)")
    ensure_schema(database)
    assert rows(database, "SELECT mine FROM calls") == []
    assert rows(database, 'SELECT "Итог" FROM звонки') == []


@from_nothing
def test_views_follow_their_declaration_at_the_next_migration(database: str) -> None:
    """What was granted, and what of others reads them, stays."""
    ensure_schema(database)
    with psycopg.connect(database) as connection:
        connection.execute("CREATE VIEW mine AS SELECT account, outcome FROM calls")
        connection.execute(f"UPDATE {VERSION_TABLE} SET version_num = '0011'")
    ensure_schema(database)
    assert rows(database, "SELECT outcome FROM mine") == []


def test_every_hour_of_the_loaded_days_is_there_and_goes_with_them(database: str) -> None:
    """Of a day without a call too; written once, by whoever loads, and by the migration alike."""
    hours = "SELECT * FROM general_dates WHERE minute = 0 AND id <> 1 ORDER BY id"
    load_all(database, [day_of(DAY, [call(1), call(2)]), day_of(NEXT, [])])
    loaded = rows(database, hours)
    assert [one[1] for one in loaded] == [
        datetime.combine(day, time(hour)) for day in (DAY, NEXT) for hour in range(24)
    ]
    assert changes(load_all(database, [day_of(DAY, [call(1), call(2)])])) == {}
    with psycopg.connect(database, autocommit=True) as connection:
        assert [gone for _, gone in delete_orphans(connection)] == []
        connection.execute("DELETE FROM general_dates WHERE minute = 0 AND id <> 1")
        connection.execute(f"UPDATE {VERSION_TABLE} SET version_num = '0011'")
        ensure_schema(database)
        assert rows(database, hours) == loaded
        account = rows(database, "SELECT account_id FROM callkeeper_days LIMIT 1")[0][0]
        nothing_kept = count_orphans(connection, account, datetime.now(UTC), date(2030, 1, 1))
        assert nothing_kept["general_dates"].rows == 24 * 2 + 1
        connection.execute("DELETE FROM callkeeper_days WHERE day = %s", (NEXT,))
        gone = dict(delete_orphans(connection))["general_dates"]
    assert gone is not None
    assert gone.rows == 24
    assert rows(database, hours) == loaded[:24]
