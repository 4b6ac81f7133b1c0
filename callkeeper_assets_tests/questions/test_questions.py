"""docs/questions.md, the SQL files and the notebook say the same of the same calls."""

import ast
import os
import subprocess
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

import pandas as pd
import psycopg
import pytest

from callkeeper_assets_tests.side_environments import find_marimo

_ROOT: Final = Path(__file__).parents[2]
_PAGE: Final = _ROOT / "docs" / "questions.md"
_NOTEBOOK: Final = _ROOT / "notebooks" / "questions.py"
_FILES: Final = sorted((_ROOT / "questions").glob("*.sql"))
_MOST_LINES: Final = 8
_SHOWN: Final = 8
# Of what SQL rounds to a tenth.
_ROUNDED: Final = 0.051

_PREFACE: Final = """\
# Ten questions

Written by `RENEW=1 pytest callkeeper_assets_tests/questions` from the folder `questions`: edit its
files. Each asks the view [`calls`](data-dictionary.md#calls-and-звонки), and runs as it is in a BI
tool, in `psql`, or as `callkeeper query - --xlsx answer.xlsx < questions/01_campaigns_by_week.sql`.
The results are those of a made-up office's calls of January and February 2026, the first eight rows
of each. The same questions in pandas are `notebooks/questions.py`
(`marimo edit notebooks/questions.py`), and two of them are marts of the dbt package in `dbt`.
All sources count; for one alone add `account = 'Main office'` to the conditions.
"""


def _read(file: Path) -> tuple[str, str]:
    """Return a file's question and its SQL."""
    first, _, statement = file.read_text("utf-8").partition("\n")
    return first.removeprefix("-- "), statement.strip()


def _name(file: Path) -> str:
    return file.stem.partition("_")[2]


def _plain(value: Any) -> Any:  # noqa: ANN401 -- whatever SQL and pandas have
    if value is None or value is pd.NA or value != value:  # noqa: PLR0124 -- NaN
        return None
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, str | date):
        return value
    return float(value)


def _ask(url: str, statement: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    with psycopg.connect(url) as connection:
        cursor = connection.execute(statement.encode())
        assert cursor.description is not None
        return [column.name for column in cursor.description], cursor.fetchall()


def _render(file: Path, url: str) -> Iterator[str]:
    question, statement = _read(file)
    columns, rows = _ask(url, statement)
    yield from (f"## {question}", "", f"`questions/{file.name}`:", "", "```sql", statement, "```")
    yield from ("", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|")
    for row in rows[:_SHOWN]:
        yield f"| {' | '.join('' if value is None else str(value) for value in row)} |"
    left = len(rows) - _SHOWN
    yield from ("", f"… and {left} more rows.", "") if left > 0 else ("",)


def test_the_page_has_what_the_files_answer(office: str) -> None:
    text = "\n".join([_PREFACE, *(line for file in _FILES for line in _render(file, office))])
    if os.environ.get("RENEW"):
        _PAGE.write_text(text, "utf-8")
    assert _PAGE.read_text("utf-8") == text, "run it with RENEW=1"


def test_each_question_is_short_and_asks_the_view_alone() -> None:
    assert len(_FILES) == 10
    for file in _FILES:
        _, statement = _read(file)
        lines = statement.splitlines()
        assert len(lines) <= _MOST_LINES, file.name
        assert [line for line in lines if line.startswith(("FROM", "JOIN"))] == ["FROM calls"]


def _run_notebook() -> dict[str, Any]:
    """Run the cells in their order, as marimo does: all share their names."""
    names: dict[str, Any] = {}
    for cell in ast.parse(_NOTEBOOK.read_text("utf-8")).body:
        if isinstance(cell, ast.FunctionDef):
            body = [one for one in cell.body if not isinstance(one, ast.Return)]
            exec(compile(ast.Module(body, []), _NOTEBOOK.name, "exec"), names)  # noqa: S102 -- ours
    return names


def test_pandas_in_the_notebook_answers_as_sql_does(
    office: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CALLKEEPER_DATABASE_URL", office)
    names = _run_notebook()
    for file in _FILES:
        _, rows = _ask(office, _read(file)[1])
        frame = names[_name(file)]
        expected = _sort(rows)
        found = _sort(frame.itertuples(index=False))
        assert expected, f"{file.name} answers nothing: it shows nothing"
        assert len(found) == len(expected), file.name
        for one, other in zip(found, expected, strict=True):
            assert _agree(one, other), (file.name, one, other)


@pytest.mark.e2e
@pytest.mark.timeout(900)
def test_marimo_itself_runs_the_notebook(office: str) -> None:
    python = find_marimo() / "python"
    environment = {**os.environ, "CALLKEEPER_DATABASE_URL": office}
    done = subprocess.run(
        (python, _NOTEBOOK), env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def _sort(rows: Any) -> list[tuple[Any, ...]]:  # noqa: ANN401 -- rows of either
    return sorted((tuple(map(_plain, row)) for row in rows), key=repr)


def _agree(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    return len(one) == len(other) and all(
        abs(a - b) < _ROUNDED if isinstance(a, float) and isinstance(b, float) else a == b
        for a, b in zip(one, other, strict=True)
    )
