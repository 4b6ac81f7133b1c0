"""What README tells a newcomer to type does what it says, from an empty folder to figures.

Both languages have the same blocks (test_conventions.py), so one of them is run.
"""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import psycopg
import pytest

from callkeeper_assets.simulator.server import RunningSimulator
from callkeeper_assets_tests.cli.conftest import KEY, callkeeper, days_ago

pytestmark = pytest.mark.e2e

_README: Final = Path(__file__).parents[2] / "README.ru.md"
_BLOCK: Final = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
# Has a test of its own, runs until Ctrl-C, or makes the project that a fixture is here.
_ELSEWHERE: Final = {"demo", "dev", "init"}
_DAY: Final = re.compile(r"\b2026-10-(\d\d)\b")


def _commands() -> Iterator[list[str]]:
    for language, block in _BLOCK.findall(_README.read_text("utf-8")):
        for line in block.splitlines() if not language else ():
            words = shlex.split(line)
            if words[:1] == ["callkeeper"] and words[1] not in _ELSEWHERE:
                yield words[1:]


def _find_block(language: str, text: str) -> str:
    blocks = _BLOCK.findall(_README.read_text("utf-8"))
    (found,) = [block for name, block in blocks if name == language and text in block]
    return str(found)


def test_every_command_of_readme_works_in_its_order(
    defs: Path,
    simulator: RunningSimulator,
    database: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MAIN_OFFICE_API_KEY", KEY)
    typed = []
    for words in _commands():
        # October is some days ago, a file lies where it may, and CallKeeper is simulated.
        command = [_DAY.sub(lambda day: days_ago(3 if day[1] == "01" else 1), one) for one in words]
        command = [str(tmp_path / one) if one == "calls.xlsx" else one for one in command]
        if command[:2] == ["add", "main_office"]:
            if "main_office" in {file.name for file in defs.iterdir()}:
                continue
            command += ["--base-url", simulator.base_url]
        if command[0] == "report":
            with (defs / "main_office" / "defs.yaml").open("a") as file:
                file.write(_find_block("yaml", "reports:"))
        done = callkeeper(*command)
        assert done.code == 0, (command, done.out, done.err)
        typed.append(command[0])
    assert {"add", "check", "load", "reconcile", "query", "report"} <= set(typed)
    assert (tmp_path / "calls.xlsx").exists()

    header = next(line for line in _find_block("", "mean_talk_sec").splitlines() if "|" in line)
    with psycopg.connect(database) as connection:
        answer = connection.execute(_find_block("sql", "GROUP BY").encode())
        columns = [column.name for column in answer.description or ()]
        assert columns == [name.strip() for name in header.split("|")]
        assert answer.fetchone() is not None
