"""The wheel as others have it: with the oldest versions that it admits, and read by their mypy.

Nothing of the tests is on its path: neither the checkout nor what is for developers alone.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from callkeeper_assets.simulator.server import run_simulator
from callkeeper_assets.simulator.settings import AccountSettings
from callkeeper_assets_tests.cli.conftest import KEY, days_ago
from callkeeper_assets_tests.release.audit import read_pins
from callkeeper_assets_tests.release.environments import (
    ROOT,
    find_python,
    list_declared,
    make_environment,
    read_metadata,
    run_uv,
)

pytestmark = pytest.mark.package

_HERE: Final = f"{sys.version_info.major}.{sys.version_info.minor}"
# What the first wheels of this Python made necessary: of others the oldest is what is declared.
_NEWER_WHEELS: Final = {
    "3.12": {"pyyaml": "6.0.1"},
    "3.13": {"pyyaml": "6.0.2", "pandas": "2.2.3"},
    "3.14": {
        "httptools": "0.7.1",
        "msgspec": "0.20.0",
        "pandas": "2.3.3",
        "psycopg": "3.2.10",
        "pyarrow": "22.0.0",
        "pyyaml": "6.0.3",
        "uvloop": "0.22.1",
    },
}
_LOWEST: Final = ("--resolution", "lowest-direct", "--only-binary", ":all:")

_PROGRAM: Final = """\
import callkeeper_assets as ck
reveal_type(ck.raw_calls("main_office", "2026-10-01", "2026-10-31"))
ck.calls("main_office", "2026-10-01", "2026-10-31", column=["status"])
"""
_NOT_READ: Final = (
    *("alembic", "dagster", "duckdb", "psycopg", "pydantic", "requests", "sqlalchemy"),
    *("starlette", "typer"),
)


def list_floors(version: str) -> dict[str, Version]:
    """Return each direct requirement's oldest version that has a wheel for a Python."""
    floors = {}
    for line in read_metadata()["project"]["dependencies"]:
        one = Requirement(line)
        (floors[one.name],) = (bound.version for bound in one.specifier if bound.operator == ">=")
    found = floors | _NEWER_WHEELS.get(version, {})
    return {name: Version(bound) for name, bound in found.items()}


def list_installed(python: Path) -> dict[str, Version]:
    """Return the versions in an environment, by name."""
    listed: list[dict[str, str]] = json.loads(
        run_uv("pip", "list", "--quiet", "--format", "json", "--python", python)
    )
    return {one["name"]: Version(one["version"]) for one in listed}


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty folder that root's embedded server may enter."""
    folder = Path(os.environ["CALLKEEPER_TESTS_FOLDER"]) / f"installed-{uuid.uuid4().hex}"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


def type_in(folder: Path, database: str, *arguments: str, text: str = "") -> str:
    """Type a command of the environment in a folder; return what it printed."""
    done = subprocess.run(
        arguments,
        executable=folder.parent / "environment" / "bin" / arguments[0],
        cwd=folder,
        env={
            "PATH": f"{folder.parent / 'environment' / 'bin'}:/usr/bin:/bin",
            "HOME": str(folder.parent),
            "LANG": "C.UTF-8",
            "CALLKEEPER_DATABASE_URL": database,
        },
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "version",
    [
        version if version == _HERE else pytest.param(version, marks=pytest.mark.chaos)
        for version in list_declared()
    ],
)
@pytest.mark.timeout(1200)
def test_the_oldest_versions_that_are_admitted_load(
    version: str, wheel: Path, folder: Path, database: str
) -> None:
    """All the others, which they need, are as new as they may be, as for who installs today."""
    found = sys.executable if version == _HERE else find_python(version)
    if found is None:
        pytest.skip(f"no Python {version} here")
    python = make_environment(folder / "environment", found)
    where = ("--quiet", "--python", python)
    run_uv("pip", "install", *where, *_LOWEST, "-r", ROOT / "pyproject.toml")
    run_uv("pip", "install", *where, "--no-deps", wheel)
    floors = list_floors(version)
    installed = list_installed(python)
    assert {name: installed[name] for name in floors} == floors
    assert "dagster-dg-cli" not in installed

    project = folder / "calls"
    project.mkdir()
    account = AccountSettings(key=KEY, name="main_office", calls_per_day=30, rhythm="flat")
    with run_simulator([account]) as simulator:
        type_in(project, database, "callkeeper", "init")
        options = ("--key-stdin", "--base-url", simulator.base_url)
        type_in(project, database, "callkeeper", "add", "main_office", *options, text=f"{KEY}\n")
        days = ("--from", days_ago(2), "--to", days_ago(1))
        load = ("callkeeper", "load", "main_office", *days, "--json")
        loaded: dict[str, Any] = json.loads(type_in(project, database, *load))
    (source,) = loaded["sources"]
    assert source["tables"]["callkeeper_calls"]["added"] > 0
    read = "import callkeeper_assets as ck; print(len(ck.calls('main_office', *{})))"
    shown = type_in(project, database, "python", "-c", read.format((days[1], days[3])))
    assert int(shown) == source["tables"]["callkeeper_calls"]["added"]


@pytest.mark.chaos
@pytest.mark.parametrize("version", list_declared())
def test_the_oldest_versions_are_as_listed_on_each_python(version: str) -> None:
    """Resolved, not installed: a Python that is not here is asked for, too."""
    asked = ("--no-header", "--no-annotate", "--python-version", version)
    listed = read_pins(
        run_uv("pip", "compile", "--quiet", *_LOWEST, *asked, ROOT / "pyproject.toml")
    )
    floors = list_floors(version)
    assert {name: Version(listed[name]) for name in floors} == floors


def test_mypy_of_others_reads_the_types_of_the_wheel(wheel: Path, tmp_path: Path) -> None:
    python = make_environment(tmp_path / "environment")
    run_uv("pip", "install", "--quiet", "--python", python, "--no-deps", wheel)
    (packages,) = (tmp_path / "environment").glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"])
    (tmp_path / "mine.py").write_text(_PROGRAM)
    # What we depend on is not read, for the sake of time: these are our types.
    skipped = "".join(f"[mypy-{name}.*]\nfollow_imports = skip\n" for name in _NOT_READ)
    (tmp_path / "mypy.ini").write_text(f"[mypy]\nfollow_imports = silent\n{skipped}")
    words = [sys.executable, "-m", "mypy", "--strict", "mine.py"]
    words += ["--python-executable", str(python)]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    revealed, wrong, *_ = done.stdout.splitlines()
    assert revealed == 'mine.py:2: note: Revealed type is "typing.Iterator[Any]"'
    assert wrong.startswith('mine.py:3: error: Unexpected keyword argument "column"')
