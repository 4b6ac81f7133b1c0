"""The wheel alone, as who installs it has it: no checkout, an empty home, an empty folder.

Its environment is new; what the product depends on is that of the running tests, so that no package
index is needed.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import uuid
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import callkeeper_assets
from callkeeper_assets.postgres.embedded import stop_postmaster
from callkeeper_assets.simulator.server import run_simulator
from callkeeper_assets.simulator.settings import AccountSettings
from callkeeper_assets_tests.cli.conftest import KEY, Done, days_ago

_PACKAGE = Path(callkeeper_assets.__file__).parent


@dataclass(frozen=True)
class Machine:
    """An environment with the wheel, and what lies beside it: `empty`, `home`, `temporary`."""

    folder: Path

    @property
    def empty(self) -> Path:
        """Where a user begins."""
        return self.folder / "empty"

    def run(self, folder: Path, *arguments: str, text: str = "") -> Done:
        """Type a command in a folder."""
        done = subprocess.run(
            arguments,
            executable=self.folder / "environment" / "bin" / arguments[0],
            cwd=folder,
            env={
                "PATH": f"{self.folder / 'environment' / 'bin'}:/usr/bin:/bin",
                "HOME": str(self.folder / "home"),
                "TMPDIR": str(self.folder / "temporary"),
                "LANG": "C.UTF-8",
            },
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def list_strays(self) -> list[str]:
        """Return what was written outside `empty`."""
        return [
            str(file) for name in ("home", "temporary") for file in (self.folder / name).rglob("*")
        ]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder],
        cwd=_PACKAGE.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (file,) = folder.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def environment(wheel: Path) -> Iterator[Path]:
    """A folder with an environment that has the wheel; root's embedded server may enter it."""
    folder = Path(os.environ["CALLKEEPER_TESTS_FOLDER"]) / f"wheel-{uuid.uuid4().hex}"
    python = folder / "environment" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", python.parents[1]], check=True)
    install = ("install", "--quiet", "--no-deps", "--no-index", "--disable-pip-version-check")
    subprocess.run([sys.executable, "-m", "pip", "--python", python, *install, wheel], check=True)
    (packages,) = python.parents[1].glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"])
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def machine(environment: Path) -> Iterator[Machine]:
    """A machine on which nothing was typed yet."""
    machine = Machine(environment)
    for name in ("empty", "home", "temporary"):
        (environment / name).mkdir()
    yield machine
    for data in environment.rglob("postgres/data"):
        stop_postmaster(data)
    for name in ("empty", "home", "temporary"):
        shutil.rmtree(environment / name)


@pytest.mark.e2e
def test_the_wheel_has_every_file_of_the_package_but_sources(wheel: Path) -> None:
    files = {
        file.relative_to(_PACKAGE.parent).as_posix()
        for file in _PACKAGE.rglob("*")
        if file.is_file() and file.suffix != ".pyc"
    }
    of_users = {file for file in files if file.startswith("callkeeper_assets/defs/")}
    names = set(zipfile.ZipFile(wheel).namelist())
    packed = {name for name in names if name.startswith("callkeeper_assets/")}
    assert sorted(files - of_users - packed) == []
    assert sorted(packed - files) == []
    assert {name for name in packed & of_users if name.count("/") > 2} == set()
    assert "callkeeper_assets/project_template/dagster.yaml" in packed


@pytest.mark.e2e
def test_the_demo_runs_to_its_end_in_an_empty_folder(machine: Machine) -> None:
    shown = machine.run(machine.empty, "callkeeper", "demo", "--days", "2", "--calls-per-day", "9")
    assert shown.code == 0, shown.out + shown.err
    assert "9. A first question" in shown.out
    assert "With your own account:  callkeeper init my-calls" in shown.out
    assert [file.name for file in machine.empty.iterdir()] == [".callkeeper"]
    assert machine.list_strays() == []


@pytest.mark.e2e
def test_the_first_own_day_is_loaded_with_five_commands(machine: Machine) -> None:
    where = machine.run(machine.empty, "python", "-c", "import callkeeper_assets as c; print(c)")
    assert str(machine.folder / "environment") in where.out
    # Not before it is a project, and not a file is written.
    for command in (["check"], ["status"], ["add", "main_office"], ["dev"]):
        refused = machine.run(machine.empty, "callkeeper", *command)
        assert refused.code == 1
        assert f"{machine.empty} is no project of callkeeper's" in refused.err
        assert "`callkeeper init` in an empty folder" in refused.err
    assert machine.run(machine.empty, "callkeeper", "load", "--help").code == 0
    assert list(machine.empty.iterdir()) == []

    project = machine.empty / "calls"
    account = AccountSettings(key=KEY, name="main", calls_per_day=9, rhythm="flat")
    with run_simulator([account]) as simulator:
        made = machine.run(machine.empty, "callkeeper", "init", "calls")
        assert made.code == 0, made.err
        options = ("--key-stdin", "--base-url", simulator.base_url)
        added = machine.run(project, "callkeeper", "add", "main_office", *options, text=f"{KEY}\n")
        assert added.code == 0, added.out + added.err
        below = project / "defs" / "main_office"
        checked = machine.run(below, "callkeeper", "check")
        assert checked.code == 0, checked.out + checked.err
        assert str(project / "dagster.yaml") in checked.out
        days = ("--from", days_ago(1), "--to", days_ago(1))
        loaded = machine.run(below, "callkeeper", "load", "main_office", *days, "--json")
        assert loaded.code == 0, loaded.out + loaded.err
        status = machine.run(
            machine.empty, "callkeeper", "--project", str(project), "status", "--json"
        )
    assert status.code == 0, status.out + status.err
    (source,) = status.document()["sources"]
    assert source["loaded"]["last_day"] == days_ago(1)
    assert KEY not in made.out + added.out + added.err + checked.out + loaded.out + status.out
    assert [file.name for file in machine.empty.iterdir()] == ["calls"]
    assert [file.name for file in below.iterdir()] == ["defs.yaml"]
    assert machine.list_strays() == []
