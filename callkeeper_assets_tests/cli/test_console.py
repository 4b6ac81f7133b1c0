"""What commands print on terminals of any width."""

import sys

import pytest

from callkeeper_assets.cli.console import build_table, print_table


@pytest.mark.parametrize("width", [200, 80, 40, 10])
def test_no_word_of_a_table_is_broken_however_narrow_the_terminal(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "dumb")
    cells = ("yekaterinburg_clinic", "2026-11-25", "1,450", "2026-11-29 09:38 UTC", "no key is set")
    table = build_table("Source", "First day", "Calls", "Last load", "Key", numeric=("Calls",))
    table.add_row(*cells)
    print_table(table)
    printed = capsys.readouterr().out.split()
    assert {word for cell in cells for word in cell.split()} <= set(printed)
