"""Tables of reports: made by themselves, changed without a loss, and nobody else's touched."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import psycopg
import pytest

from callkeeper_assets.reports.definition import ColumnType, Report
from callkeeper_assets.reports.rows import RefusedReport
from callkeeper_assets.warehouse.migrate import ensure_schema
from callkeeper_assets.warehouse.records import Account
from callkeeper_assets_tests.reports.building import (
    build,
    build_all,
    changes,
    fetch,
    read_tuples,
    table,
)
from callkeeper_assets_tests.warehouse.raw_days import DAY, MOSCOW, call, day_of

CALLS = [call(n, duration2_sec=str(n), born="2026-01-02") for n in range(1, 6)]
DAYS = [day_of(DAY, CALLS)]


def report(talk: ColumnType = "integer", key: str = "id", **more: tuple[str, ColumnType]) -> Report:
    columns: dict[str, tuple[str, ColumnType]] = {
        "id": ("id", "bigint"),
        "talk": ("duration2_sec", talk),
        **more,
    }
    return Report("talks", structure=(table("talks", key, columns),))


def refusal(database: str, *reports: Report) -> str:
    """Why the first report is refused."""
    (one,) = build(database, DAYS, *reports)
    assert isinstance(one, RefusedReport), one
    assert one.day is None
    return one.reason


def columns_of(database: str) -> dict[str, str]:
    return dict(
        fetch(
            database,
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute "
            "WHERE attrelid = 'talks'::regclass AND attnum > 0 AND NOT attisdropped",
        )
    )


def test_a_table_is_made_with_its_key_its_owners_and_its_descriptions(database: str) -> None:
    build_all(database, DAYS, report())
    assert columns_of(database) == {
        "account_id": "integer",
        "callkeeper_report": "text",
        "callkeeper_day": "date",
        "callkeeper_call_id": "bigint",
        "id": "bigint",
        "talk": "integer",
    }
    ((key,),) = fetch(
        database,
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE conrelid = 'talks'::regclass AND contype = 'p'",
    )
    assert key == "PRIMARY KEY (account_id, id)"
    assert fetch(database, "SELECT col_description('talks'::regclass, 6)") == [("duration2_sec",)]
    assert fetch(database, "SELECT table_name, made_by FROM callkeeper_report_tables") == [
        ("talks", "main_office/talks")
    ]


def test_a_new_column_is_added_and_filled_from_raw_calls(database: str) -> None:
    build_all(database, DAYS, report())
    built = build_all(database, DAYS, report(born=("born", "date")))
    assert changes(built) == {"talks": (0, 5, 0)}
    assert fetch(database, "SELECT DISTINCT born::text FROM talks") == [("2026-01-02",)]


def test_a_removed_column_stays_with_its_values_until_it_is_dropped(database: str) -> None:
    build_all(database, DAYS, report(born=("born", "date")))
    before = read_tuples(database, "talks")
    assert changes(build_all(database, DAYS, report())) == {"talks": (0, 0, 0)}
    assert read_tuples(database, "talks") == before
    assert columns_of(database)["born"] == "date"
    with psycopg.connect(database) as connection:
        connection.execute("ALTER TABLE talks DROP COLUMN born")
    assert changes(build_all(database, DAYS, report())) == {"talks": (0, 0, 0)}


@pytest.mark.parametrize(
    ("old", "new", "has"),
    [
        ("integer", "bigint", "bigint"),
        ("integer", "numeric", "numeric"),
        ("integer", "double", "double precision"),
        ("integer", "text", "text"),
        ("bigint", "numeric", "numeric"),
        ("jsonb", "text", "text"),
    ],
)
def test_a_type_is_widened_where_nothing_is_lost(
    database: str, old: ColumnType, new: ColumnType, has: str
) -> None:
    build_all(database, DAYS, report(old))
    before = fetch(database, "SELECT id, talk::text FROM talks ORDER BY id")
    build_all(database, [day_of(DAY + timedelta(days=1), [call(9)])], report(new))
    assert columns_of(database)["talk"] == has
    after = fetch(database, "SELECT id, talk::text FROM talks WHERE id < 9 ORDER BY id")
    assert after == before


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        ("bigint", "integer", "integer"),
        ("text", "integer", "integer"),
        ("numeric", "double", "double precision"),
        ("text", "timestamp", "timestamp without time zone"),
    ],
)
def test_a_type_that_would_lose_something_is_refused_with_the_statement_that_would_do_it(
    database: str, old: ColumnType, new: ColumnType, kind: str
) -> None:
    build_all(database, DAYS, report(old))
    before = read_tuples(database, "talks")
    reason = refusal(database, report(new))
    statement = f'ALTER TABLE "talks" ALTER COLUMN "talk" TYPE {kind} USING "talk"::text::{kind}'
    assert statement in reason
    assert 'filled from raw calls, run: ALTER TABLE "talks" DROP COLUMN "talk"' in reason
    assert read_tuples(database, "talks") == before
    assert fetch(
        database, "SELECT report, day, rows_added FROM callkeeper_loads WHERE error IS NOT NULL"
    ) == [("talks", DAY, 0)]


def test_the_statements_of_a_refusal_do_what_they_say(database: str) -> None:
    build_all(database, DAYS, report("bigint"))
    for remedy in ("ALTER COLUMN", "DROP COLUMN"):
        reason = refusal(database, report("integer" if remedy == "ALTER COLUMN" else "boolean"))
        start = reason.index(f'ALTER TABLE "talks" {remedy}')
        with psycopg.connect(database) as connection:
            connection.execute(reason[start:].partition(";")[0].encode())
        build_all(database, DAYS, report("integer"))
        assert columns_of(database)["talk"] == "integer"
        assert fetch(database, "SELECT sum(talk) FROM talks") == [(15,)]


def test_another_key_is_refused_with_the_statement_that_makes_the_table_anew(
    database: str,
) -> None:
    build_all(database, DAYS, report())
    reason = refusal(database, report(key="id talk"))
    assert (
        'The key of the table "talks" is account_id, id, the report says account_id, id, talk.'
        in (reason)
    )
    with psycopg.connect(database) as connection:
        connection.execute(reason[reason.index("DROP TABLE") :].encode())
    assert changes(build_all(database, DAYS, report(key="id talk"))) == {"talks": (5, 0, 0)}


@pytest.mark.parametrize(
    "made",
    [
        "CREATE TABLE public.talks (id bigint)",
        "CREATE VIEW public.talks AS SELECT 1 AS id",
        "CREATE MATERIALIZED VIEW public.talks AS SELECT 1 AS id",
        "CREATE SEQUENCE public.talks",
        # Looks just like one of ours.
        (
            "CREATE TABLE public.talks (account_id integer, callkeeper_report text, "
            "callkeeper_day date, callkeeper_call_id bigint, id bigint, talk integer, "
            "PRIMARY KEY (account_id, id))"
        ),
    ],
)
def test_what_no_report_made_is_left_alone_whatever_its_name(database: str, made: str) -> None:
    with psycopg.connect(database) as connection:
        connection.execute(made.encode())
    reason = refusal(database, report(born=("born", "date")))
    assert 'There is a table, view or index "talks" in the database already' in reason
    assert 'rename the other one: ALTER TABLE "talks" RENAME TO' in reason
    if "VIEW" not in made and "SEQUENCE" not in made:
        assert fetch(database, "SELECT count(*) FROM talks") == [(0,)]


def test_a_table_that_took_the_place_of_a_reports_is_left_alone(database: str) -> None:
    build_all(database, DAYS, report())
    with psycopg.connect(database) as connection:
        connection.execute("DROP TABLE talks")
        connection.execute("CREATE TABLE public.talks (id bigint, talk integer)")
        connection.execute("INSERT INTO talks VALUES (1, 1)")
    assert "that no report has made" in refusal(database, report())
    assert fetch(database, "SELECT * FROM talks") == [(1, 1)]


def test_a_table_that_was_made_a_partitioned_one_is_left_alone(database: str) -> None:
    """Rows are found by their place, which tells the parts of such a table not apart."""
    build_all(database, DAYS, report())
    with psycopg.connect(database) as connection:
        connection.execute("ALTER TABLE talks RENAME TO talks_whole")
        connection.execute(
            "CREATE TABLE public.talks (LIKE talks_whole INCLUDING ALL) "
            "PARTITION BY LIST (account_id)"
        )
    assert "that no report has made" in refusal(database, report())


def test_a_table_of_that_name_elsewhere_does_not_matter(database: str) -> None:
    with psycopg.connect(database) as connection:
        connection.execute("CREATE SCHEMA other")
        connection.execute("CREATE TABLE other.talks (id bigint)")
    assert changes(build_all(database, DAYS, report())) == {"talks": (5, 0, 0)}
    assert fetch(database, "SELECT count(*) FROM other.talks") == [(0,)]


def test_a_dropped_table_is_made_again(database: str) -> None:
    build_all(database, DAYS, report())
    with psycopg.connect(database) as connection:
        connection.execute("DROP TABLE talks")
    assert changes(build_all(database, DAYS, report())) == {"talks": (5, 0, 0)}


def test_a_report_whose_table_is_refused_does_not_stop_the_others(database: str) -> None:
    with psycopg.connect(database) as connection:
        connection.execute("CREATE TABLE public.talks (id bigint)")
    other = Report("other", fields=(("id", "id"),))
    refused, built = build(database, DAYS, report(), other)
    assert isinstance(refused, RefusedReport)
    assert changes([built]) == {"callkeeper_reports": (5, 0, 0)}


def test_loads_that_start_at_once_make_one_table(database: str) -> None:
    ensure_schema(database)
    sources = [Account(f"source_{n}", "", MOSCOW) for n in range(4)]
    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(build_all, database, DAYS, report(), account=who) for who in sources]
        for future in done:
            assert changes(future.result()) == {"talks": (5, 0, 0)}
    assert fetch(database, "SELECT count(*), count(DISTINCT account_id) FROM talks") == [(20, 4)]
