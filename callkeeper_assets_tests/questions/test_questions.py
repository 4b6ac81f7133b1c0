"""docs/questions.md, in both languages, the SQL files and the notebook say the same."""

import ast
import os
import subprocess
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import pandas as pd
import psycopg
import pytest

from callkeeper_assets_tests.side_environments import find_marimo

_ROOT: Final = Path(__file__).parents[2]
_NOTEBOOK: Final = _ROOT / "notebooks" / "questions.py"
_FILES: Final = sorted((_ROOT / "questions").glob("*.sql"))
_MOST_LINES: Final = 8
_SHOWN: Final = 8
# Of what SQL rounds to a tenth.
_ROUNDED: Final = 0.051


class _Page(NamedTuple):
    """The questions in one language.

    Attributes:
        line: Which line of a file has its question.
        more: What is said of rows that are not shown.
    """

    file: Path
    line: int
    preface: str
    more: str


_ENGLISH: Final = """\
# Ten questions

[По-русски](ru/questions.md)

Written by `RENEW=1 pytest callkeeper_assets_tests/questions` from the folder `questions`: edit its
files. Each asks the view [`calls`](data-dictionary.md#calls-and-звонки), and runs as it is in a BI
tool, in `psql`, or as `callkeeper query - --xlsx answer.xlsx < questions/01_campaigns_by_week.sql`.
The results are those of a made-up office's calls of January and February 2026, the first eight rows
of each. The same questions in pandas are `notebooks/questions.py`
(`marimo edit notebooks/questions.py`), and two of them are marts of the dbt package in `dbt`.
All sources count; for one alone add `account = 'Main office'` to the conditions.
"""
_RUSSIAN: Final = """\
# Десять вопросов

[English](../questions.md)

Страницу пишет `RENEW=1 pytest callkeeper_assets_tests/questions` из папки `questions`: правьте её
файлы. Каждый вопрос задан представлению [`calls`](data-dictionary.md#calls-и-звонки) и работает как
есть в BI-системе, в `psql` или как
`callkeeper query - --xlsx answer.xlsx < questions/01_campaigns_by_week.sql`. У представления
`звонки` те же столбцы с русскими названиями; что значит `outcome`, сказано там же. Ответы — по
звонкам вымышленного офиса за январь и февраль 2026 года, первые восемь строк. Те же вопросы на
pandas — `notebooks/questions.py` (`marimo edit notebooks/questions.py`), два из них — витрины
пакета dbt в `dbt`. Считаются все источники; для одного добавьте `account = 'Main office'`.
"""
_PAGES: Final = (
    _Page(_ROOT / "docs" / "questions.md", 0, _ENGLISH, "… and {left} more rows."),
    _Page(_ROOT / "docs" / "ru" / "questions.md", 1, _RUSSIAN, "… ещё строк: {left}."),
)


def _read(file: Path) -> tuple[list[str], str]:
    """Return a file's question, in English and in Russian, and its SQL."""
    english, russian, statement = file.read_text("utf-8").split("\n", 2)
    return [line.removeprefix("-- ") for line in (english, russian)], statement.strip()


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


def _render(page: _Page, file: Path, url: str) -> Iterator[str]:
    questions, statement = _read(file)
    columns, rows = _ask(url, statement)
    yield from (f"## {questions[page.line]}", "", f"`questions/{file.name}`:", "")
    yield from ("```sql", statement, "```", "")
    yield from (f"| {' | '.join(columns)} |", "|---" * len(columns) + "|")
    for row in rows[:_SHOWN]:
        yield f"| {' | '.join('' if value is None else str(value) for value in row)} |"
    left = len(rows) - _SHOWN
    yield from ("", page.more.format(left=left), "") if left > 0 else ("",)


@pytest.mark.parametrize("page", _PAGES, ids=["en", "ru"])
def test_the_page_has_what_the_files_answer(office: str, page: _Page) -> None:
    lines = (line for file in _FILES for line in _render(page, file, office))
    text = "\n".join([page.preface, *lines])
    if os.environ.get("RENEW"):
        page.file.write_text(text, "utf-8")
    assert page.file.read_text("utf-8") == text, "run it with RENEW=1"


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
