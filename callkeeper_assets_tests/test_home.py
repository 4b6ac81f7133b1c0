"""Where an installation keeps what it writes, with and without the variables set."""

from pathlib import Path

import pytest

from callkeeper_assets.home import home, project_root, raw_url, set_dagster_home


def test_without_variables_everything_lies_in_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CALLKEEPER_HOME")
    assert (project_root() / "pyproject.toml").is_file()
    assert home() == project_root() / ".callkeeper"
    assert raw_url() == str(project_root() / ".callkeeper" / "raw")


def test_a_relative_home_is_the_same_for_processes_in_different_folders(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CALLKEEPER_HOME", "elsewhere")
    monkeypatch.chdir(tmp_path)
    assert home() == project_root() / "elsewhere"


def test_a_url_for_raw_calls_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLKEEPER_RAW_URL", "s3://bucket/calls")
    assert raw_url() == "s3://bucket/calls"


def test_a_dagster_home_that_is_set_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    assert set_dagster_home() == tmp_path
