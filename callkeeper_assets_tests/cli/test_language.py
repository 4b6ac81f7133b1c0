"""The catalogue has all that is to be said in Russian; commands say it where it is asked for."""

import ast
import io
import re
import string
from collections.abc import Iterator
from pathlib import Path

import pytest
from babel.messages.mofile import write_mo

from callkeeper_assets.language import (
    choose_language,
    current_language,
    mark,
    say_number,
    tr,
    tr_count,
    use_language,
)
from callkeeper_assets_tests.cli.conftest import callkeeper
from callkeeper_assets_tests.texts import MO, PACKAGE, collect, list_missing, read_catalogue

_MARKING = {"tr", "mark", "tr_count"}
_SAYING = {"print_text", "print_note", "print_warning", "print_error", "UsageProblemError"}


@pytest.fixture(autouse=True)
def english() -> Iterator[None]:
    """Whatever a test chose, the next one begins in English."""
    yield
    use_language("en")


def _places(text: str) -> set[tuple[str, str, str]]:
    return {
        (name, spec or "", conversion or "")
        for _, name, spec, conversion in string.Formatter().parse(text)
        if name is not None
    }


def _marked() -> Iterator[tuple[str, ast.Call]]:
    for file in sorted(PACKAGE.rglob("*.py")):
        if file.name == "language.py":
            continue
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in _MARKING:
                yield f"{file.relative_to(PACKAGE)}:{node.lineno}", node


def test_the_catalogue_is_that_of_the_code_and_every_text_has_its_translation() -> None:
    catalogue = read_catalogue()
    assert {str(one.id) for one in collect()} == {str(one.id) for one in catalogue}, "make texts"
    assert list_missing(catalogue) == []
    compiled = io.BytesIO()
    write_mo(compiled, catalogue)
    assert compiled.getvalue() == MO.read_bytes(), "make texts"


def test_a_translation_has_the_places_of_its_text() -> None:
    """Another name would fail where the text is said; another format would say another number."""
    wrong = []
    for one in read_catalogue():
        ours = [one.id] if isinstance(one.id, str) else list(one.id)
        theirs = [one.string] if isinstance(one.string, str) else list(one.string or ())
        if any("{" in text for text in ours) and one.id and "{env: MAIN" not in ours[0]:
            wanted = _places(ours[0])
            wrong += [text for text in theirs if not text or _places(str(text)) != wanted]
    assert wrong == []


def test_a_marked_text_is_a_constant_with_a_value_for_each_place() -> None:
    known = {one.id if isinstance(one.id, str) else one.id[0] for one in read_catalogue()}
    wrong = []
    for place, node in _marked():
        text = node.args[0] if node.args else None
        if not isinstance(text, ast.Constant):
            # Marked where it is a constant, and looked up here.
            continue
        given = {keyword.arg for keyword in node.keywords}
        places = {name for name, _, _ in _places(str(text.value))} if given else set()
        if text.value not in known or places - {"number"} != given:
            wrong.append(f"{place}: {text.value!r}")
    assert wrong == []


def test_what_commands_print_is_marked() -> None:
    """A text that is no translated one would stand in English among Russian."""
    wrong = []
    for file in sorted((PACKAGE / "cli").glob("*.py")):
        # Who simulates CallKeeper tests something.
        if file.name == "simulate.py":
            continue
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in _SAYING and node.args:
                said = "".join(
                    one.value
                    for one in getattr(node.args[0], "values", [node.args[0]])
                    if isinstance(one, ast.Constant) and isinstance(one.value, str)
                )
                if re.search(r"(?<![-\w])[A-Za-z]{2}", said.removeprefix("callkeeper ")):
                    wrong.append(f"{file.name}:{node.lineno}: {said!r}")
    assert wrong == []


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, "en"),
        ({"LANG": "C.UTF-8"}, "en"),
        ({"LANG": "ru_RU.UTF-8"}, "ru"),
        ({"LANG": "ru_RU.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "ru_RU.UTF-8"}, "ru"),
        ({"LANG": "ru_RU.UTF-8", "CALLKEEPER_LANG": "en"}, "en"),
        ({"CALLKEEPER_LANG": " RU "}, "ru"),
    ],
)
def test_the_environment_says_the_language(environment: dict[str, str], expected: str) -> None:
    assert choose_language(environment) == expected


def test_a_language_that_there_is_none_of_is_refused() -> None:
    with pytest.raises(ValueError, match="CALLKEEPER_LANG must be en or ru"):
        choose_language({"CALLKEEPER_LANG": "de"})


def test_a_number_has_the_form_that_goes_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGUAGE", "")
    use_language("ru")
    days = [tr_count("{number:,} day", "{number:,} days", number) for number in (1, 2, 5, 21, 1000)]
    assert days == ["1 день", "2 дня", "5 дней", "21 день", "1\N{NO-BREAK SPACE}000 дней"]
    assert tr("no such text of ours: {number}", number=1) == "no such text of ours: 1"
    assert mark("day") == "day"
    # A format is how a number is written; one without is a port, or a year.
    assert tr("{size:.1f} {port}", size=0.5, port=8080) == "0,5 8080"
    assert say_number(1234567.8, ",.1f") == "1\N{NO-BREAK SPACE}234\N{NO-BREAK SPACE}567,8"
    use_language("en")
    assert say_number(1234567.8, ",.1f") == "1,234,567.8"
    assert current_language() == "en"
    assert tr_count("{number:,} day", "{number:,} days", 21) == "21 days"


@pytest.mark.e2e
def test_commands_speak_russian_where_it_is_asked_for_and_json_never(
    defs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Help, a mistake in a file, a key that is missing, a table; by option and by locale."""
    source = defs / "main_office" / "defs.yaml"
    source.parent.mkdir()
    source.write_text(
        "type: callkeeper_assets.CallKeeperSource\nattributes: {api_key: {env: NO_SUCH_KEY}}\n"
    )
    broken = defs / "broken" / "defs.yaml"
    broken.parent.mkdir()
    broken.write_text(
        "type: callkeeper_assets.CallKeeperSource\n"
        "attributes: {api_key: {env: NO_SUCH_KEY}, time_zon: Europe/Moscow}\n"
    )
    assert "Загрузить выбранные дни." in callkeeper("--lang", "ru", "load", "--help").out
    checked = callkeeper("--lang", "ru", "check")
    assert checked.code == 1
    assert "У источника 'main_office' нет API-ключа" in checked.out
    assert "time_zon: нет такого: атрибут 'time_zon'. Может быть, 'time_zone'?" in checked.out
    assert "API key" in callkeeper("--lang", "ru", "check", "--json").out
    monkeypatch.setenv("LANG", "ru_RU.UTF-8")
    monkeypatch.delenv("LC_ALL", raising=False)
    shown = callkeeper("status")
    assert "NO_SUCH_KEY не задана" in shown.out
    assert "с источником ни разу не сверялся" in shown.out
    assert "there is no attribute" in callkeeper("--lang", "en", "status").err
