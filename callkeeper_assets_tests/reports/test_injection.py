"""Text that is SQL, in every field of a call and every name that a report may have, stays text."""

import psycopg
import pytest
from psycopg import sql

from callkeeper_assets.postgres import connect
from callkeeper_assets.reports.definition import (
    RESERVED_WORDS,
    Report,
    find_column_name_problem,
    find_field_name_problem,
    find_report_name_problem,
    find_table_name_problem,
)
from callkeeper_assets.reports.structure import prepare_table
from callkeeper_assets.warehouse.filters import Filter
from callkeeper_assets.warehouse.migrate import ensure_schema
from callkeeper_assets_tests.reports.building import build_all, fetch, table
from callkeeper_assets_tests.warehouse.raw_days import DAY, Call, call, day_of

ATTACKS = (
    "'; DROP TABLE callkeeper_calls; --",
    '"; DROP TABLE callkeeper_calls; --',
    "\\.\n\\N\t'||pg_sleep(9)||'",
    "%s %(account_id)s {table} {0} $1",
    "*/ SELECT 1 /*",
    "\\'; SELECT 1; --",
)


def _poison(value: object, attack: str) -> object:
    """Put the attack into every text and every name of a value."""
    if isinstance(value, dict):
        return {name: _poison(one, attack) for name, one in value.items()} | {attack: attack}
    return attack if isinstance(value, str) else value


@pytest.mark.parametrize("attack", ATTACKS)
def test_every_field_of_a_call_is_stored_as_the_text_it_is(database: str, attack: str) -> None:
    poisoned = _poison(call(1), attack)
    assert isinstance(poisoned, dict)
    calls: list[Call] = [{**poisoned, "tags": [attack, {"x": attack}], "good": 1}]
    names = [name for name in calls[0] if name not in {"id", "tags", attack, "visit_info"}]
    report = Report("whole", fields=(("all", "@"), (attack, "site")))
    tables = Report(
        "tables",
        structure=(
            table(
                "poisoned",
                "id site",
                {
                    "id": ("id", "bigint"),
                    **{name: (name, "text") for name in names},
                    "everything": ("@", "jsonb"),
                },
            ),
            table("tags", "id tag", {"id": ("^id", "bigint"), "tag": ("@", "text")}, "tags[]"),
        ),
        filters=(Filter("city", "eq", attack),),
    )
    built = build_all(database, [day_of(DAY, calls)], report, tables)
    ((data,),) = fetch(database, "SELECT data FROM callkeeper_reports")
    assert data == {"all": calls[0], attack: attack}
    ((row,),) = fetch(database, "SELECT to_jsonb(p) FROM poisoned AS p")
    assert row["everything"] == calls[0]
    assert {row[name] for name in names if isinstance(calls[0][name], str)} == {attack}
    assert fetch(database, "SELECT tag FROM tags") == [(attack,)]
    ((value, reason),) = fetch(database, "SELECT value, reason FROM callkeeper_rejects")
    assert "DROP" not in reason
    assert value.startswith('{"x":')
    assert attack in built[0].new_fields or built[0].new_fields == ()
    assert fetch(database, "SELECT to_regclass('callkeeper_calls') IS NOT NULL") == [(True,)]


@pytest.mark.parametrize("attack", ATTACKS)
def test_every_name_that_is_sql_is_refused(attack: str) -> None:
    assert find_table_name_problem(attack)
    assert find_column_name_problem(attack)
    assert find_report_name_problem(attack)


def test_names_of_fields_may_be_any_text_that_can_be_printed() -> None:
    assert find_field_name_problem(ATTACKS[0]) is None
    assert find_field_name_problem("a\nb") == "'a\\nb' holds characters that cannot be printed."


def test_the_reserved_words_are_those_of_the_server(database: str) -> None:
    words = fetch(database, "SELECT word FROM pg_get_keywords() WHERE catcode IN ('R', 'T')")
    assert {word for (word,) in words} == RESERVED_WORDS


def test_every_word_of_sql_that_is_not_reserved_can_name_a_table_and_a_column(
    database: str,
) -> None:
    ensure_schema(database)
    words = fetch(database, "SELECT word FROM pg_get_keywords() WHERE catcode NOT IN ('R', 'T')")
    with connect(database, autocommit=True) as connection:
        for (word,) in words:
            assert find_table_name_problem(word) is None, word
            assert find_column_name_problem(word) is None, word
            prepare_table(database, connection, table(word, word, {word: ("id", "bigint")}), "a/b")
            # As a person would write it.
            connection.execute(f"SELECT {word} FROM {word} WHERE {word} = 1".encode())


def test_names_are_quoted_even_if_the_checks_of_a_file_were_passed_by(database: str) -> None:
    name, column = 'odd"; DROP TABLE callkeeper_calls; --', "c'\"; --"
    columns = {"x": ("id", "bigint"), column: ("@", "jsonb")}
    report = Report("r", structure=(table(name, "x", columns),))  # type: ignore[arg-type]
    build_all(database, [day_of(DAY, [call(1)])], report)
    with psycopg.connect(database) as connection:
        query = sql.SQL("SELECT x FROM {}").format(sql.Identifier(name))
        assert connection.execute(query).fetchall() == [(1,)]
