"""`callkeeper query`: what files other programs get, and what a statement may do."""

import csv
import io
import os
import signal
import subprocess
import sys
import zipfile
from datetime import date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from callkeeper_assets.analysis import export
from callkeeper_assets.analysis.columns import ReadingError
from callkeeper_assets.analysis.export import (
    Rows,
    replaced,
    run_query,
    write_csv,
    write_parquet,
    write_xlsx,
)
from callkeeper_assets.cli.main import app
from callkeeper_assets_tests.waiting import wait_until

MOSCOW = ZoneInfo("Europe/Moscow")
_EVERY_TYPE = """
    SELECT 1 AS whole, 1.50::numeric AS exact, 0.25::float8 AS real, true AS flag, 'Тула;"' AS text,
        date '2026-03-02' AS day, timestamptz '2026-03-01 21:00:00+00' AS moment,
        time '10:00' AS clock, '{"a": 1}'::jsonb AS json, ARRAY[1, 2] AS list,
        interval '1 day' AS span, inet '10.0.0.1' AS address, NULL::text AS nothing,
        4000000000000001 AS long
"""

pytestmark = pytest.mark.usefixtures("loaded")


def _csv_of(statement: str) -> str:
    file = io.StringIO(newline="")
    with run_query(statement, MOSCOW) as rows:
        write_csv(rows, file)
    return file.getvalue()


def test_csv_is_as_russian_excel_reads_it() -> None:
    text = _csv_of(_EVERY_TYPE)
    assert text.startswith("\ufeffwhole;exact;")
    assert text.splitlines()[1] == (
        '1;1,50;0,25;true;"Тула;""";2026-03-02;2026-03-02 00:00:00;10:00:00;'
        '"{""a"": 1}";{1,2};1 day;10.0.0.1;;4000000000000001'
    )
    assert text.endswith("\r\n")


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("  =1+1", "'  =1+1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("-2+cmd|' /C calc'!A0", "'-2+cmd|' /C calc'!A0"),
        ("+7 495 1", "'+7 495 1"),
        ("\t=1", "'\t=1"),
        ("＝1", "'＝1"),
        ("+74950000001", "+74950000001"),
        ("a=b", "a=b"),
    ],
)
def test_no_text_in_csv_is_a_formula(text: str, cell: str) -> None:
    file = io.StringIO(newline="")
    write_csv(Rows(["=name"], ["text"], iter([(text,)])), file)
    file.seek(1)
    assert list(csv.reader(file, delimiter=";")) == [["'=name"], [cell]]


def test_a_workbook_has_numbers_dates_and_texts_that_are_no_formulas(tmp_path: Path) -> None:
    with run_query(f"SELECT t.*, '=1+1' AS formula FROM ({_EVERY_TYPE}) AS t", MOSCOW) as rows:
        assert write_xlsx(rows, tmp_path / "calls.xlsx") == 1
    with zipfile.ZipFile(tmp_path / "calls.xlsx") as book:
        sheet = book.read("xl/worksheets/sheet1.xml").decode()
    assert "<f>" not in sheet
    assert "<t>=1+1</t>" in sheet
    assert '<t>Тула;"</t>' in sheet
    assert "<t>4000000000000001</t>" in sheet
    assert "<v>1.5</v>" in sheet
    # The days since 1899-12-30.
    assert f"<v>{(date(2026, 3, 2) - date(1899, 12, 30)).days}</v>" in sheet


def test_rows_that_fill_a_sheet_go_on_in_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "_LAST_ROW_OF_SHEET", 3)
    rows = Rows(["n"], ["int4"], ((number,) for number in range(5)))
    assert write_xlsx(rows, tmp_path / "n.xlsx") == 5
    with zipfile.ZipFile(tmp_path / "n.xlsx") as book:
        sheets = [name for name in book.namelist() if "worksheets/sheet" in name]
        assert len(sheets) == 3
        assert b"<v>4</v>" in book.read("xl/worksheets/sheet3.xml")


def test_parquet_has_the_types(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "_ROWS_AT_ONCE", 2)
    statement = f"SELECT t.* FROM ({_EVERY_TYPE}) AS t, generate_series(1, 5)"
    with run_query(statement, MOSCOW) as rows:
        assert write_parquet(rows, tmp_path / "calls.parquet") == 5
    table = pq.read_table(tmp_path / "calls.parquet")
    assert table.schema.types == [
        *(pa.int32(), pa.float64(), pa.float64(), pa.bool_(), pa.string(), pa.date32()),
        *(pa.timestamp("us", "Europe/Moscow"), pa.time64("us"), *[pa.string()] * 5, pa.int64()),
    ]
    assert table.to_pylist()[4]["moment"] == datetime(2026, 3, 2, tzinfo=MOSCOW)
    with run_query("SELECT 1 AS a WHERE false", MOSCOW) as rows:
        assert write_parquet(rows, tmp_path / "none.parquet") == 0
    assert pq.read_table(tmp_path / "none.parquet").schema == pa.schema([("a", pa.int32())])


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("DELETE FROM callkeeper_calls", "DELETE is not for here"),
        ("DELETE FROM callkeeper_calls RETURNING call_id", "DELETE is not for here"),
        ("EXPLAIN ANALYZE DELETE FROM callkeeper_calls", "would write"),
        ("DO $$ BEGIN COPY (SELECT 1) TO PROGRAM 'false'; END $$", "DO is not for here"),
        ("SET transaction_read_only = off", "SET is not for here"),
        ("SELECT set_config('transaction_read_only', 'off', true)", "read-write mode"),
        ("SELECT pg_read_file('PG_VERSION')", "permission denied for function pg_read_file"),
        ("SELECT lo_import('/etc/hostname')", "permission denied"),
        ("SELECT pg_reload_conf()", "permission denied for function pg_reload_conf"),
        ("SELECT pg_ls_dir('.')", "permission denied for function pg_ls_dir"),
        ("CREATE TEMP TABLE t AS SELECT 1", "CREATE is not for here"),
        ("SELECT 1 INTO t", "INTO"),
        ("SELECT 'a\0b'", "zero byte"),
        ("SELECT '\udcff'", "not UTF-8"),
        ("SELECT nextval('general_sites_id_seq')", "only reads tables; the server refused"),
        (
            "WITH d AS (DELETE FROM callkeeper_calls RETURNING 1) SELECT * FROM d",
            "PostgreSQL refuses",
        ),
        ("SELECT 1; DELETE FROM callkeeper_calls", "multiple commands"),
        ("SHOW work_mem; DELETE FROM callkeeper_calls", "multiple commands"),
        ("COMMIT; DELETE FROM callkeeper_calls", "COMMIT; is not for here"),
        ("/* x */ COPY (SELECT 1) TO PROGRAM 'false'", "COPY is not for here"),
        ("SELECT town FROM callkeeper_calls", 'column "town" does not exist'),
        ("SELECT 1 / (call_id - 9) FROM callkeeper_calls", "division by zero"),
        (" ; -- nothing", "empty"),
        ("COMMIT", "COMMIT is not for here"),
    ],
    ids=str,
)
def test_what_writes_or_is_wrong_is_refused_in_words(statement: str, said: str) -> None:
    with pytest.raises(ReadingError) as caught, run_query(statement, MOSCOW) as rows:
        list(rows)
    assert said in str(caught.value)
    with run_query("SELECT count(*) FROM callkeeper_calls; -- all", MOSCOW) as rows:
        assert list(rows) == [(5,)]


def test_days_and_times_in_a_query_mean_the_zone_that_is_shown() -> None:
    """In UTC, a day's calls before three in the morning would be another day's, silently."""
    statement = """
        SELECT called_at::date, called_at::text FROM callkeeper_calls
        WHERE called_at >= '2026-03-03' AND call_id = 3
    """
    with run_query(statement, MOSCOW) as rows:
        assert list(rows) == [(date(2026, 3, 3), "2026-03-03 00:00:00+03")]
    with run_query("SHOW TimeZone", MOSCOW) as rows:
        assert list(rows) == [("Europe/Moscow",)]


def test_a_query_may_begin_with_comments_and_semicolons() -> None:
    with run_query("-- why\n ; /* what */ SELECT 1", MOSCOW) as rows:
        assert list(rows) == [(1,)]
    with run_query("EXPLAIN SELECT 1", MOSCOW) as rows:
        assert "Result" in str(list(rows))


def test_a_sum_of_long_numbers_is_exact_in_a_workbook(tmp_path: Path) -> None:
    """PostgreSQL's sum of `bigint` is `numeric`: no whole number to Python, but one to a person."""
    statement = "SELECT sum(4000000000000001::bigint), 'NaN'::numeric, 12345678901234.5"
    with run_query(statement, MOSCOW) as rows:
        write_xlsx(rows, tmp_path / "sum.xlsx")
    with zipfile.ZipFile(tmp_path / "sum.xlsx") as book:
        sheet = book.read("xl/worksheets/sheet1.xml").decode()
    assert "<t>4000000000000001</t>" in sheet
    assert "<t>NaN</t>" in sheet
    assert "<v>12345678901234.5</v>" in sheet


def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    """As root, a file would otherwise take the place of /dev/stdout."""
    pipe, folder = tmp_path / "pipe", tmp_path / "folder"
    os.mkfifo(pipe)
    folder.mkdir()
    for place in (pipe, folder):
        with pytest.raises(ReadingError, match="is no file"), replaced(place):
            pass
    assert pipe.is_fifo()
    missing = replaced(tmp_path / "nowhere" / "calls.csv")
    with pytest.raises(ReadingError, match="cannot be written: No such file"), missing:
        pass


def test_a_link_goes_on_leading_to_the_file(tmp_path: Path) -> None:
    file, link = tmp_path / "calls.csv", tmp_path / "latest.csv"
    file.write_text("old")
    link.symlink_to(file)
    with replaced(link) as beside:
        beside.write_text("new")
    assert link.is_symlink()
    assert file.read_text() == "new"


def _start(*arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "callkeeper_assets.cli.main", "query", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_an_interrupted_query_ends_at_once_and_leaves_the_file_as_it_was(
    tmp_path: Path, loaded: str
) -> None:
    file = tmp_path / "calls.csv"
    file.write_text("what was there")
    asked = "SELECT pg_sleep(600), 'interrupted'"
    with psycopg.connect(loaded, autocommit=True) as connection:

        def is_running() -> bool:
            waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
            return connection.execute(waits).fetchone() == (1,)

        with _start(asked, "--csv", str(file)) as process:
            wait_until(is_running, "the query")
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=60)
        assert process.returncode == 130
        assert b"Traceback" not in said
        wait_until(lambda: not is_running(), "its end on the server")
    assert file.read_text() == "what was there"
    assert [one.name for one in tmp_path.iterdir()] == ["calls.csv"]


def test_a_reader_that_goes_away_is_no_error_to_be_told() -> None:
    asked = "SELECT n, repeat('x', 1000) FROM generate_series(1, 100000) AS n"
    with _start(asked, "--csv", "-") as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"\xef\xbb\xbfn;repeat")
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
        process.wait(timeout=60)


def test_the_command_shows_a_table_or_writes_a_file(tmp_path: Path) -> None:
    run = CliRunner().invoke
    statement = "SELECT call_id, called_at FROM callkeeper_calls ORDER BY 1 LIMIT 2"
    shown = run(app, ["query", statement])
    assert shown.exit_code == 0, shown.output
    # Two sources, two zones.
    assert "2026-03-01 21:00:00+00:00" in shown.stdout
    assert "2 rows" in shown.stderr
    assert "\x1b" not in run(app, ["query", "SELECT E'\\x1b[2J' AS page"]).stdout
    file = tmp_path / "calls.csv"
    file.write_text("what was there")
    failed = run(
        app, ["query", "SELECT 1 / (call_id - 9) FROM callkeeper_calls", "--csv", str(file)]
    )
    assert failed.exit_code == 1
    assert file.read_text() == "what was there"
    written = run(app, ["query", statement, "--csv", str(file)])
    assert written.exit_code == 0, written.output
    assert file.read_bytes().startswith(b"\xef\xbb\xbfcall_id;called_at\r\n1;")
    assert [one.name for one in tmp_path.iterdir()] == ["calls.csv"]
    assert f"2 rows written to {file}" in written.stderr
    printed = run(app, ["query", "-", "--csv", "-"], input="\ufeffSELECT 1 AS one")
    assert printed.stdout_bytes == b"\xef\xbb\xbfone\r\n1\r\n"
