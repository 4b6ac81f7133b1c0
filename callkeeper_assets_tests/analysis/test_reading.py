"""What analysts get: frames of calls, of raw calls, of reports; and what they are told instead."""

import json
import re
import subprocess
import sys
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import psycopg
import pyarrow as pa
import pytest
from adbc_driver_manager import dbapi

import callkeeper_assets as ck
from callkeeper_assets.analysis import reading
from callkeeper_assets.analysis.columns import COLUMNS, Where, describe_columns, find_column
from callkeeper_assets.postgres import DatabaseError
from callkeeper_assets_tests.analysis.conftest import FIRST, SECOND
from callkeeper_assets_tests.analysis.joined import write_join
from callkeeper_assets_tests.warehouse.raw_days import MOSCOW

_GUIDE: Final = Path(__file__).parents[2] / "docs" / "python.md"

pytestmark = pytest.mark.usefixtures("loaded")


def test_calls_come_with_their_dimensions_in_the_sources_time() -> None:
    frame = ck.calls("main_office", FIRST, "2026-03-03")
    assert list(frame.columns) == list(COLUMNS)
    assert frame["call_id"].tolist() == [1, 2, 3, 4]
    assert all(isinstance(kind, pd.ArrowDtype) for kind in frame.dtypes)
    assert frame.dtypes["called_at"].pyarrow_dtype == pa.timestamp("us", "Europe/Moscow")
    assert frame["called_at"][0] == pd.Timestamp("2026-03-02 00:00", tz="Europe/Moscow")
    assert frame["called_at"].dt.hour.tolist() == [0, 0, 0, 0]
    first = frame.iloc[0]
    assert first[["source", "city", "utm_campaign", "talk_sec", "site"]].tolist() == [
        *("main_office", "Москва", "windows", 50, "okna.example")
    ]
    assert first["day"] == FIRST


@pytest.mark.parametrize("source", ["main_office", "siberia"])
def test_calls_are_what_one_statement_of_sql_answers(loaded: str, source: str) -> None:
    """Fetched apart and joined here, nothing is lost, moved to another call, or of another type."""
    zone = {"main_office": "Europe/Moscow", "siberia": "Asia/Omsk"}[source]
    table = ck.calls(source, FIRST, FIRST, as_="arrow")
    bounds = {"account": source, "start": f"{FIRST} {zone}", "end": f"{SECOND} {zone}"}
    statement = re.sub(r"(?<!:):(\w+)", r"%(\1)s", write_join())
    with psycopg.connect(loaded) as connection:
        expected = connection.execute(statement, bounds).fetchall()
    assert expected
    assert [tuple(row.values()) for row in table.to_pylist()] == expected
    wanted = {"text": "string", "integer": "int32", "smallint": "int16", "bigint": "int64"}
    for name in COLUMNS:
        kind = find_column(name).type
        assert str(table.schema.field(name).type) == wanted.get(kind, str(table[name].type))


def test_a_long_period_is_read_in_parts_that_make_the_whole() -> None:
    """Its middle lies between the two days that are loaded."""
    whole = ck.calls("main_office", FIRST, SECOND)
    with pytest.warns(ck.MissingDaysWarning):
        frame = ck.calls("main_office", "2026-02-01", "2026-03-31")
    pd.testing.assert_frame_equal(frame, whole)
    assert frame["called_at"].is_monotonic_increasing


def test_calls_come_in_their_order_wherever_their_rows_lie(loaded: str) -> None:
    with psycopg.connect(loaded, autocommit=True) as connection:
        connection.execute("UPDATE callkeeper_calls SET status = status WHERE call_id = 1")
        lying = connection.execute(
            "SELECT call_id FROM callkeeper_calls WHERE call_id <= 4 ORDER BY ctid"
        ).fetchall()
    assert lying[0] != (1,)
    assert ck.calls("main_office", FIRST, SECOND)["call_id"].tolist() == [1, 2, 3, 4]


def test_a_call_without_a_fact_has_no_measures_and_no_dimensions(loaded: str) -> None:
    facts = "callkeeper_calls_facts"
    with psycopg.connect(loaded, autocommit=True) as connection:
        connection.execute(
            f"CREATE TEMP TABLE kept AS SELECT f.* FROM {facts} AS f JOIN callkeeper_calls AS c"
            " ON c.id = f.calls_id AND c.account_id = f.account_id WHERE c.call_id = 9"
        )
        connection.execute(f"DELETE FROM {facts} WHERE calls_id IN (SELECT calls_id FROM kept)")
        try:
            frame = ck.calls("siberia", FIRST, FIRST)
        finally:
            connection.execute(f"INSERT INTO {facts} SELECT * FROM kept")
    assert frame["call_id"].tolist() == [9]
    assert frame["source"].tolist() == ["siberia"]
    assert frame[["talk_sec", "city", "day", "hour", "utm_campaign", "clientid"]].isna().all().all()


def test_all_of_one_reading_is_of_one_moment(loaded: str) -> None:
    """Facts come by another connection: a load in between must not show in them alone."""
    asked = "SELECT count(*) AS n FROM general_sites WHERE description = 'new'"
    with closing(ck.connect()) as one, closing(ck.connect()) as other:
        reading._share_snapshot([one, other])
        with psycopg.connect(loaded, autocommit=True) as connection:
            connection.execute("UPDATE general_sites SET description = 'new'")
            try:
                seen = [reading._query(each, asked)["n"].to_pylist() for each in (one, other)]
            finally:
                connection.execute("UPDATE general_sites SET description = NULL")
    assert seen == [[0], [0]]


def test_what_is_unknown_is_missing() -> None:
    """Not the dimensions' row for it, whose texts would be counted as a place or a visitor."""
    with ck.connect() as connection:
        assert pd.read_sql("SELECT clientid FROM general_clientids WHERE id = 1", connection).size
    frame = ck.calls("main_office", SECOND, SECOND, columns=["call_id", "city", "clientid"])
    assert frame["city"].isna().tolist() == [False, True]


def test_arrow_is_the_same_without_pandas() -> None:
    table = ck.calls("main_office", FIRST, SECOND, columns=["talk_sec", "called_at"], as_="arrow")
    assert isinstance(table, pa.Table)
    assert table.schema == pa.schema(
        [("talk_sec", pa.int32()), ("called_at", pa.timestamp("us", "Europe/Moscow"))]
    )
    assert table["talk_sec"].to_pylist() == [50, 10, 70, 50]


def test_a_frame_of_pandas_lies_in_the_memory_that_the_database_answered_into() -> None:
    table = ck.calls("main_office", FIRST, SECOND, as_="arrow")
    frame = table.to_pandas(types_mapper=pd.ArrowDtype)
    for name in ("city", "talk_sec", "called_at"):
        shown = pa.chunked_array(frame[name].array.__arrow_array__())
        assert [part.buffers()[-1].address for part in shown.chunks] == [
            part.buffers()[-1].address for part in table[name].chunks
        ]


def test_all_sources_are_in_utc_if_they_have_several_zones_each_with_its_own_days() -> None:
    frame = ck.calls(None, FIRST, FIRST, columns=["source", "call_id", "called_at"])
    assert frame["source"].tolist() == ["main_office", "main_office", "siberia"]
    assert frame.dtypes["called_at"].pyarrow_dtype.tz == "UTC"
    assert frame["called_at"][2] == pd.Timestamp("2026-03-01 18:00", tz="UTC")


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"status": "success"}, [1, 3, 4]),
        ({"talk_sec": {"ge": 50, "lt": 70}}, [1, 4]),
        ({"talk_sec": np.int64(70)}, [3]),
        ({"city": ["Москва", "Тула"]}, [1, 2]),
        ({"city": pd.Series(["Тула"])}, [2]),
        ({"city": None}, [4]),
        ({"city": {"not_null": True, "ne": "Тула"}}, [1, 3]),
        ({"city": {"is_null": False}}, [1, 2, 3]),
        ({"city": {"contains": "'Фал"}}, [3]),
        ({"city": "O'Фаллон \\ 50% ?"}, [3]),
        ({"city": {"starts_with": "%"}}, []),
        ({"city": "x'; DROP TABLE callkeeper_calls; --"}, []),
        ({"city": "%(account)s"}, []),
        ({"called_at": {"ge": "2026-03-03"}}, [3, 4]),
        ({"called_at": {"lt": "2026-03-03 00:01:00"}}, [1, 2, 3]),
        ({"called_at": {"ge": datetime(2026, 3, 3, 0, 1, tzinfo=MOSCOW)}}, [4]),
        ({"day": FIRST}, [1, 2]),
        ({"day": pd.Timestamp("2026-03-02")}, [1, 2]),
        ({"hour": 0, "weekday": 2}, [3, 4]),
        ({"called_at": {"ge": pd.Timestamp("2026-03-03", tz="Europe/Moscow")}}, [3, 4]),
        ({"call_id": {"in": range(3, 9)}}, [3, 4]),
        ({"call_id": np.array([2, 4])}, [2, 4]),
        ({"source": "main_office", "utm_campaign": "windows"}, [1, 2, 3, 4]),
        ({"site": {"ne": "other.example"}, "clientid": "ga.2"}, [2]),
        ({"is_final": True, "attempt": {"le": 1.5}}, [1, 2, 3, 4]),
        ([{"field": "city", "op": "in", "value": ["Тула"]}], [2]),
    ],
    ids=str,
)
def test_where_keeps_the_calls_that_it_says(where: Where, expected: list[int]) -> None:
    frame = ck.calls("main_office", FIRST, SECOND, columns=["call_id"], where=where)
    assert frame["call_id"].tolist() == expected


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"source": "main_ofice"}, "There is no source 'main_ofice'. Did you mean 'main_office'?"),
        ({"source": []}, "No source is named"),
        ({"columns": ["talk_secs"]}, "There is no column 'talk_secs'. Did you mean 'talk_sec'?"),
        ({"columns": "talk_sec"}, 'columns=["talk_sec"]'),
        ({"columns": ["city", "city"]}, "each once"),
        ({"first": "2026-03-04"}, "first=2026-03-04 is after last=2026-03-03"),
        ({"first": "02.03.2026"}, "a day is a date, or written 2026-01-31"),
        ({"as_": "polars"}, "as_='polars'"),
        ({"where": "city = 'Тула'"}, "For SQL there is ck.connect()"),
        ({"where": {"town": "Тула"}}, "There is no column 'town'"),
        ({"where": {"city": {"like": "Т%"}}}, "There is no op 'like'"),
        ({"where": {"talk_sec": "long"}}, "where on talk_sec (eq): it has to be a number"),
        ({"where": {"city": {"is_null": 1}}}, "True or False"),
        ({"where": {"talk_sec": float("nan")}}, "where on talk_sec (eq)"),
        ({"where": {"city": pd.NA}}, "where on city (eq)"),
        ({"where": {"city": ["Тула", None]}}, "where on city (in)"),
        ({"where": {"city": []}}, "where on city (in)"),
        ({"where": {"city": {}}}, "where on city"),
        ({"first": None}, "first=None: a day is a date"),
        ({"first": "2026-02-30"}, "a day is a date"),
        ({"where": {"city": "a\0b"}}, "PostgreSQL holds no such value"),
        ({"where": [{"field": "city"}]}, "An entry of where is"),
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_refused_in_words(arguments: dict[str, object], said: str) -> None:
    given = {"source": "main_office", "first": FIRST, "last": "2026-03-03", **arguments}
    with pytest.raises(ck.ReadingError) as caught:
        ck.calls(**given)  # type: ignore[call-overload]
    assert said in str(caught.value)


def test_a_database_that_is_away_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLKEEPER_DATABASE_URL", "postgresql://reader:secret@127.0.0.1:9/away")
    with pytest.raises(DatabaseError, match="Check that the server runs") as caught:
        ck.calls("main_office", FIRST, FIRST)
    assert "secret" not in str(caught.value)


def test_who_owns_the_server_reads_no_files_of_it() -> None:
    refused = pytest.raises(dbapi.Error, match="permission denied")
    with ck.connect() as connection, connection.cursor() as cursor, refused:
        cursor.execute("SELECT pg_read_file('PG_VERSION')")


def test_days_that_are_not_loaded_are_told() -> None:
    with pytest.raises(ck.NothingLoadedError, match=r"2026-01-05 is not loaded\. Run: callkeeper"):
        ck.calls("main_office", "2026-01-05", "2026-01-05")
    with pytest.warns(ck.MissingDaysWarning, match="2 of the days are not loaded"):
        frame = ck.calls("main_office", "2026-03-01", "2026-03-04")
    assert len(frame) == 4


def test_raw_calls_come_a_day_at_a_time() -> None:
    days = ck.raw_calls("main_office", FIRST, SECOND)
    first = next(days)
    assert list(first.columns) == ["day", "call_id", "called_at", "payload"]
    assert first["call_id"].tolist() == [1, 2]
    assert json.loads(first["payload"][0])["city"] == "Москва"
    assert first.dtypes["called_at"].pyarrow_dtype.tz == "Europe/Moscow"
    assert next(days)["day"].tolist() == [SECOND, SECOND]
    assert next(days, None) is None
    tables = ck.raw_calls("main_office", FIRST, SECOND, as_="arrow")
    assert pa.concat_tables(tables).num_rows == 4


def test_raw_calls_without_a_file_are_told_before_the_first_is_asked_for() -> None:
    with pytest.raises(ck.NothingLoadedError, match="siberia"):
        ck.raw_calls("siberia", FIRST, FIRST)
    with pytest.warns(ck.MissingDaysWarning, match="1 of the days"):
        ck.raw_calls("main_office", SECOND, "2026-03-04")


def test_the_connection_reads_and_cannot_write() -> None:
    with ck.connect() as connection:
        statement = "SELECT call_id FROM callkeeper_calls WHERE call_id > 3"
        frame = pd.read_sql(statement, connection, dtype_backend="pyarrow")
        assert sorted(frame["call_id"]) == [4, 9]
        with connection.cursor() as cursor:
            cursor.execute(statement.replace("3", "$1"), (4,))
            assert cursor.fetch_arrow_table()["call_id"].to_pylist() == [9]
        with connection.cursor() as cursor, pytest.raises(dbapi.Error, match="read-only"):
            cursor.execute("DELETE FROM callkeeper_calls")


def test_a_report_comes_with_the_types_of_its_values(loaded: str) -> None:
    with psycopg.connect(loaded) as connection:
        connection.execute(
            "INSERT INTO callkeeper_reports (account_id, report, call_id, called_at, data,"
            " loaded_at, day) SELECT c.account_id, 'talks', c.call_id, c.called_at,"
            " jsonb_build_object('id', c.call_id, 'talk', 1.5, 'city', NULL), now(), %s"
            " FROM callkeeper_calls AS c WHERE c.call_id < 3",
            (FIRST,),
        )
        connection.execute(
            "INSERT INTO callkeeper_report_days (account_id, report, day, definition, calls,"
            " built_at) SELECT account_id, 'talks', %s, 'd', 2, now() FROM general_accounts"
            " WHERE name = 'main_office'",
            (FIRST,),
        )
    table = ck.report("main_office", "talks", FIRST, FIRST, as_="arrow")
    assert table.schema.types == [
        *(pa.int64(), pa.timestamp("us", "Europe/Moscow"), pa.int64(), pa.float64(), pa.string())
    ]
    assert ck.report("main_office", "talks", FIRST, FIRST)["talk"].tolist() == [1.5, 1.5]
    with pytest.raises(ck.NothingLoadedError, match=r"was not built for these days\. Run: call"):
        ck.report("main_office", "talks", SECOND, SECOND)
    with pytest.raises(ck.ReadingError, match=r"There is no report 'talk'\."):
        ck.report("main_office", "talk", FIRST, FIRST)


def test_every_column_is_one_of_the_warehouses() -> None:
    assert [find_column(name).description for name in COLUMNS]


def test_the_public_api_is_what_it_was() -> None:
    """A name that goes, or comes, is a line in the changelog."""
    assert ck.__all__ == [
        "CallKeeperSource",
        "MissingDaysWarning",
        "NothingLoadedError",
        "ReadingError",
        "build_definitions",
        "calls",
        "connect",
        "raw_calls",
        "report",
    ]
    assert all(getattr(ck, name).__name__ == name for name in ck.__all__)
    assert all(getattr(ck, name).__doc__ for name in ck.__all__)


def test_importing_the_package_imports_nothing_heavy() -> None:
    heavy = "{'pandas', 'pyarrow', 'psycopg', 'dagster', 'duckdb', 'pydantic'}"
    code = f"import callkeeper_assets, sys; print({heavy} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_guide_names_every_column() -> None:
    text = _GUIDE.read_text("utf-8")
    table = text.partition("<!-- columns: begin -->\n")[2].partition("\n<!-- columns: end -->")[0]
    assert table == describe_columns()


def test_the_examples_of_the_guide_run() -> None:
    """One after another, as a notebook's cells; what they make is looked at."""
    names: dict[str, Any] = {}
    fenced = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    for block in fenced.findall(_GUIDE.read_text("utf-8")):
        exec(block, names)  # noqa: S102 -- the guide is ours
    assert len(names["frame"]) == 4
    assert names["talks"]["source"].tolist() == ["main_office", "siberia"]
    assert names["table"].num_rows == 4
    assert len(names["everything"]) == 4
    assert names["by_day"]["count"].sum() == 5
