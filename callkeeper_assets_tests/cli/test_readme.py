"""What README tells a newcomer to type does what it says, from an empty folder to figures.

Both languages have the same blocks (test_conventions.py), so one of them is run: the Russian, in
Russian, with the commands of its sentences too.
"""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import psycopg
import pytest

from callkeeper_assets.simulator.server import RunningSimulator
from callkeeper_assets_tests.alerts.receivers import run_receiver
from callkeeper_assets_tests.cli.conftest import KEY, callkeeper, days_ago

pytestmark = pytest.mark.e2e

_README: Final = Path(__file__).parents[2] / "README.ru.md"
_BLOCK: Final = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_INLINE: Final = re.compile(r"`callkeeper ([a-z][^`…]*)`")
# Has a test of its own, runs until Ctrl-C, makes the project that a fixture is here, or needs a
# role that an administrator made (warehouse/test_grants.py).
_ELSEWHERE: Final = {"demo", "dev", "grant", "init", "move", "webhooks"}
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
    monkeypatch.setenv("CALLKEEPER_LANG", "ru")
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

    _check_sentences(defs, database, monkeypatch)

    header, _, *shown = (
        line for line in _find_block("", "mean_talk_sec").splitlines() if "|" in line or "+" in line
    )
    statement = _find_block("sql", "GROUP BY")
    with psycopg.connect(database) as connection:
        answer = connection.execute(statement.replace("LIMIT 5", "").encode())
        columns = [column.name for column in answer.description or ()]
        assert columns == _cells(header)
        # How many of each is another thing each day.
        groups = {(row[0] or "", row[1] or "") for row in answer.fetchall()}
    assert {(cells[0], cells[1]) for cells in map(_cells, shown)} <= groups
    assert all(one.isdecimal() for line in shown for one in _cells(line)[2:])


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("|")]


def _check_sentences(defs: Path, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Type what the sentences name, with what they say is to be set for it."""
    text = _README.read_text("utf-8")
    retention = re.search(r"`(retention: .*?)`", text)
    assert retention
    with (defs / "main_office" / "defs.yaml").open("a") as file:
        file.write(f"  {retention[1]}\n{_find_block('yaml', 'webhook:')}")
    monkeypatch.setenv("MAIN_OFFICE_WEBHOOK_TOKEN", "a-long-random-text-of-a-newcomer")
    with psycopg.connect(database) as connection:
        row = connection.execute("SELECT max(call_id) FROM callkeeper_calls").fetchone()
    call_id = str(row[0]) if row else ""
    said = {}
    with run_receiver() as receiver:
        monkeypatch.setenv("CALLKEEPER_ALERT_URLS", receiver.apprise_url)
        for words in dict.fromkeys(_INLINE.findall(_BLOCK.sub("", text))):
            command = shlex.split(re.sub(r"\d{10}", call_id, words))
            if command[0] in _ELSEWHERE:
                continue
            done = callkeeper(*command)
            # What needs a person is no failure of the command.
            assert done.code in ({0, 1} if "--fail" in command else {0}), (command, done)
            said[words] = done.out
    assert {"add --help", "alert --test", "refresh", "status", "upgrade"} <= set(said)
    assert "/webhooks/main_office/" in said["check"]
    assert "доставлено" in said["alert --test"]
