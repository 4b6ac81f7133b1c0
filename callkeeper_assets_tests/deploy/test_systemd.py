"""The units, as systemd itself reads them; left out, and said so, where it is not installed."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
import typer.core
import typer.main

from callkeeper_assets.cli.main import app
from callkeeper_assets_tests.deploy.conftest import DEPLOY

_UNITS: Final = DEPLOY / "systemd"
_COMMON: Final = (_UNITS / "callkeeper-.service.d" / "common.conf").read_text("utf-8")
_EXPOSURE: Final = re.compile(r"Overall exposure level for \S+: ([\d.]+)")
_STARTS: Final = re.compile(r"^ExecStart=/opt/callkeeper/bin/callkeeper (.+)$", re.MULTILINE)
# Of ten; systemd calls what is below 2 OK, and a unit without any of it has 9.6.
_MOST_EXPOSED: Final = 1.9

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed here"
)


def _services() -> list[Path]:
    return sorted(_UNITS.glob("*.service"))


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units with programs that are there."""
    folder = tmp_path / "units"
    shutil.copytree(_UNITS, folder)
    for file in folder.glob("*.service"):
        text = file.read_text("utf-8")
        file.write_text(text.replace("/opt/callkeeper/bin/callkeeper", sys.executable), "utf-8")
    return folder


def _analyze(folder: Path, *words: str) -> str:
    done = subprocess.run(
        ["systemd-analyze", *words],
        cwd=folder,
        env={"SYSTEMD_UNIT_PATH": f"{folder}:", "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@needs_systemd
def test_every_unit_is_one_that_systemd_takes(units: Path) -> None:
    names = [file.name for file in (*units.glob("*.service"), *units.glob("*.target"))]
    assert len(names) == 10
    said = _analyze(units, "verify", "--man=no", *(f"./{name}" for name in names))
    assert said == ""


@needs_systemd
def test_every_service_is_hardened(units: Path) -> None:
    for file in units.glob("*.service"):
        said = _analyze(units, "security", "--offline=true", f"./{file.name}")
        found = _EXPOSURE.search(said)
        assert found, said
        assert float(found[1]) < _MOST_EXPOSED, said


def test_every_unit_starts_a_command_with_options_that_there_are() -> None:
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    started = set()
    for file in _services():
        (words,) = _STARTS.findall(file.read_text("utf-8"))
        name, *options = words.split()
        command = group.commands[name]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {one for one in options if one.startswith("--")} <= known, file
        assert file.stem == f"callkeeper-{name}"
        started.add(name)
    several = {"worker", "webhooks", "metrics", "alerts"}
    assert started == {"code", "runs", "web", "daemon", "up", *several}


def test_a_unit_gives_its_runs_the_time_that_its_command_gives_them() -> None:
    """Not less: systemd would kill them. And only its process is told, not its runs."""
    assert "KillMode=mixed" in _COMMON
    for name in ("runs", "up", "worker"):
        text = (_UNITS / f"callkeeper-{name}.service").read_text("utf-8")
        (grace,) = re.findall(r"--grace (\d+)", text)
        (stop,) = re.findall(r"TimeoutStopSec=(\d+)", text)
        assert int(stop) >= int(grace) + 30
        assert "OOMPolicy=continue" in text


def test_every_service_has_a_bound_of_memory() -> None:
    assert [file.name for file in _services() if "MemoryMax=" not in file.read_text("utf-8")] == []
