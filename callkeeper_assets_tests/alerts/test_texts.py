"""Words of alerts: each kind has them in both languages, and a line in the guide."""

from pathlib import Path
from string import Formatter

from callkeeper_assets.alerts.findings import KINDS, Finding
from callkeeper_assets.alerts.texts import _WORDINGS, tell, tell_end

_PAGE = Path(__file__).parents[2] / "docs" / "alerts.md"


def _list_places(text: str) -> list[str]:
    return sorted({name for _, name, _, _ in Formatter().parse(text) if name})


def test_every_kind_is_told_in_both_languages_with_the_same_values() -> None:
    for kind in KINDS:
        english, russian = _WORDINGS["en"][kind], _WORDINGS["ru"][kind]
        for theirs, ours in zip(english, russian, strict=True):
            assert _list_places(theirs) == _list_places(ours), kind
            assert theirs != ours


def test_every_kind_is_in_the_guide() -> None:
    page = _PAGE.read_text("utf-8")
    assert [kind for kind in KINDS if f"| `{kind}` |" not in page] == []


def test_a_cause_that_another_version_noted_is_told_with_what_there_is() -> None:
    noted = Finding("run_failed", "main_office_refresh", "error", values={"job": "main"})
    assert tell(noted).text.startswith("main: ? failed run(s)")
    assert tell_end(noted, "ru").startswith("Прошло: main: ")
