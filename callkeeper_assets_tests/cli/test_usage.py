"""What is typed wrongly is said before anything starts, with exit code 2."""

from pathlib import Path

import pytest

from callkeeper_assets_tests.cli.conftest import callkeeper, days_ago, write_source


def _load(source: str, first: str, last: str) -> str:
    done = callkeeper("load", source, "--from", first, "--to", last)
    assert done.code == 2
    assert done.out == ""
    return done.err


@pytest.fixture
def office(defs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAIN_OFFICE_API_KEY", "")
    write_source(defs, "main_office", "history_days: 31", "start_date: 2025-03-01")


@pytest.mark.usefixtures("office")
def test_an_unknown_source_is_named_with_the_nearest_one() -> None:
    said = _load("main_ofice", days_ago(2), days_ago(1))
    assert "There is no source 'main_ofice'. Did you mean 'main_office'?" in said
    assert "Allowed: main_office." in said


@pytest.mark.usefixtures("office")
def test_a_day_must_be_written_as_a_day() -> None:
    assert "--to 31.01.2026: a day of the calendar is written 2026-01-31, or" in _load(
        "main_office", days_ago(2), "31.01.2026"
    )
    assert "--from 2026-02-30" in _load("main_office", "2026-02-30", days_ago(1))


@pytest.mark.usefixtures("office")
def test_words_for_days_mean_the_sources_own() -> None:
    said = _load("main_office", "today", "yesterday")
    assert f"--from {days_ago(0)} is after --to {days_ago(1)}." in said
    assert "--from tomorrow: a day of the calendar is written 2026-01-31, or today, or" in _load(
        "main_office", "tomorrow", "today"
    )


@pytest.mark.usefixtures("office")
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 2, "Name a source, or say --all."),
        (("main_office", "--all"), 2, "Name sources, or say --all, not both."),
        (("--all",), 1, "Source 'main_office' has no API key"),
    ],
)
@pytest.mark.parametrize("command", ["load", "reconcile"])
def test_all_sources_are_meant_only_if_that_is_said(
    command: str, arguments: tuple[str, ...], code: int, said: str
) -> None:
    done = callkeeper(command, *arguments)
    assert done.code == code
    assert said in done.err


@pytest.mark.usefixtures("office")
def test_days_must_be_in_order() -> None:
    first, last = days_ago(1), days_ago(2)
    assert f"--from {first} is after --to {last}." in _load("main_office", first, last)


@pytest.mark.usefixtures("office")
def test_a_day_in_the_future_is_refused() -> None:
    said = _load("main_office", days_ago(1), days_ago(-2))
    assert f"--to {days_ago(-2)} is in the future for source 'main_office'" in said
    assert f"today is {days_ago(0)} in Europe/Moscow" in said


@pytest.mark.usefixtures("office")
def test_the_plans_limit_is_said_with_the_first_day_allowed() -> None:
    said = _load("main_office", days_ago(40), days_ago(1))
    assert "the plan gives 31 days back (history_days)" in said
    assert f"The first day allowed is {days_ago(31)}." in said


@pytest.mark.usefixtures("office")
def test_a_source_that_keeps_its_calls_is_not_cleared() -> None:
    done = callkeeper("retain", "main_office")
    assert (done.code, done.out) == (2, "")
    assert "Source 'main_office' keeps its calls for ever." in done.err
    assert "retention: {keep_days: 730}" in done.err


def test_the_start_date_is_said_where_it_is_the_limit(defs: Path) -> None:
    write_source(defs, "main_office", "start_date: 2025-03-01")
    said = _load("main_office", "2025-02-28", days_ago(1))
    assert "start_date" in said
    assert "The first day allowed is 2025-03-01." in said


def test_a_misspelt_attribute_is_said_with_its_line(defs: Path) -> None:
    write_source(defs, "main_office", "tabels: [callkeeper_calls]")
    said = _load("main_office", days_ago(2), days_ago(1))
    assert "Source 'main_office' is not loaded, its configuration is refused:" in said
    assert "defs.yaml:4: tabels: there is no attribute 'tabels'. Did you mean 'tables'?" in said


def test_without_any_source_it_is_said_how_to_make_one(defs: Path) -> None:
    for arguments in (["refresh"], ["load", "x", "--from", days_ago(1), "--to", days_ago(1)]):
        done = callkeeper(*arguments)
        assert done.code == 2
        assert f"There is no source in {defs} yet. Make one:" in done.err
        assert "callkeeper add main_office" in done.err


def test_a_missing_option_is_wrong_usage() -> None:
    done = callkeeper("load", "--from", days_ago(1), "--to")
    assert done.code == 2
    assert "--to" in done.err


def test_a_missing_folder_of_sources_is_a_failure(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CALLKEEPER_DEFS", str(home / "nowhere"))
    done = callkeeper("refresh")
    assert done.code == 1
    assert f"There is no folder {home / 'nowhere'}, which CALLKEEPER_DEFS names." in done.err


@pytest.mark.usefixtures("office")
def test_an_unset_key_is_a_failure_before_anything_starts(home: Path) -> None:
    done = callkeeper("load", "main_office", "--from", days_ago(2), "--to", days_ago(1))
    assert done.code == 1
    assert "the environment variable MAIN_OFFICE_API_KEY" in done.err
    assert not (home / "postgres").exists()
