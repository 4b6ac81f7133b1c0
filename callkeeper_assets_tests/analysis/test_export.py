"""`callkeeper query`: what files other programs get, and what a statement may do."""

import csv
import io
import zipfile
from datetime import date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from callkeeper_assets.analysis import export
from callkeeper_assets.analysis.columns import ReadingError
from callkeeper_assets.analysis.export import Rows, run_query, write_csv, write_parquet, write_xlsx
from callkeeper_assets.cli.main import app

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
        ("DELETE FROM callkeeper_calls", "would write"),
        ("DELETE FROM callkeeper_calls RETURNING call_id", "would write"),
        ("SELECT nextval('general_sites_id_seq')", "would write"),
        ("WITH d AS (DELETE FROM callkeeper_calls RETURNING 1) SELECT * FROM d", "does not answer"),
        ("SELECT 1; DELETE FROM callkeeper_calls", "multiple commands"),
        ("SHOW work_mem; DELETE FROM callkeeper_calls", "multiple commands"),
        ("COMMIT; DELETE FROM callkeeper_calls", "multiple commands"),
        ("/* x */ COPY (SELECT 1) TO PROGRAM 'false'", "COPY is not for here"),
        ("SELECT town FROM callkeeper_calls", 'column "town" does not exist'),
        ("SELECT 1 / (call_id - 9) FROM callkeeper_calls", "division by zero"),
        (" ; -- nothing", "empty"),
        ("COMMIT", "gives no rows"),
    ],
    ids=str,
)
def test_what_writes_or_is_wrong_is_refused_in_words(statement: str, said: str) -> None:
    with pytest.raises(ReadingError) as caught, run_query(statement, MOSCOW) as rows:
        list(rows)
    assert said in str(caught.value)
    with run_query("SELECT count(*) FROM callkeeper_calls; -- all", MOSCOW) as rows:
        assert list(rows) == [(5,)]


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
    printed = run(app, ["query", "-", "--csv", "-"], input="SELECT 1 AS one")
    assert printed.stdout_bytes == b"\xef\xbb\xbfone\r\n1\r\n"
