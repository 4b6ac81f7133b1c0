"""The command as a whole: plain, its own words. How fast it begins: `test_architecture`."""

import os
from pathlib import Path

import pytest

from callkeeper_assets.cli.console import load_env_file
from callkeeper_assets_tests.cli.conftest import callkeeper

COMMANDS = ("demo", "dev", "check", "load", "refresh", "status", "simulate")


def test_help_names_every_command() -> None:
    done = callkeeper("--help")
    assert done.code == 0
    for command in COMMANDS:
        assert f"  {command} " in done.out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    done = callkeeper(command, "--help")
    assert done.code == 0
    assert f"Usage: callkeeper {command}" in done.out
    assert "\x1b" not in done.out


def test_version_is_printed() -> None:
    done = callkeeper("--version")
    assert done.code == 0
    assert done.out.startswith("callkeeper ")


def test_a_command_that_does_not_exist_is_wrong_usage() -> None:
    done = callkeeper("laod")
    assert done.code == 2
    assert "laod" in done.err


def test_the_env_file_does_not_override_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CALLKEEPER_TEST_SET", "by the shell")
    monkeypatch.setenv("CALLKEEPER_TEST_NEW", "")
    monkeypatch.delenv("CALLKEEPER_TEST_NEW")
    (tmp_path / ".env").write_text("CALLKEEPER_TEST_SET=by the file\nCALLKEEPER_TEST_NEW=new\n")
    load_env_file(tmp_path)
    assert os.environ["CALLKEEPER_TEST_SET"] == "by the shell"
    assert os.environ["CALLKEEPER_TEST_NEW"] == "new"
