"""The wheel alone, as who installs it has it: no checkout, an empty home, an empty folder.

Its environment is new; what the product depends on is that of the running tests, so that no package
index is needed.
"""

import os
import pwd
import shutil
import subprocess
import sys
import sysconfig
import uuid
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

import callkeeper_assets
from callkeeper_assets.postgres.binaries import ServerUser, can_enter
from callkeeper_assets.postgres.embedded import stop_postmaster
from callkeeper_assets.simulator.server import run_simulator
from callkeeper_assets.simulator.settings import AccountSettings
from callkeeper_assets_tests.cli.conftest import KEY, Done, days_ago
from callkeeper_assets_tests.e2e.dev import run_dev_by
from callkeeper_assets_tests.e2e.test_daemon import TABLES
from callkeeper_assets_tests.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.package]

_PACKAGE = Path(callkeeper_assets.__file__).parent


# System's users of which no program runs; those of root's embedded servers are others.
_ORDINARY_USERS: Final = ("games", "daemon", "bin", "nobody")
_NAMELESS_UID: Final = 61_234
# Where everybody may write.
_PUBLIC_PLACES: Final = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108


@dataclass(frozen=True)
class Machine:
    """An environment with the wheel, and what lies beside it: `empty`, `home`, `temporary`.

    Attributes:
        uid: Who types; None is the user of the tests.
    """

    folder: Path
    uid: int | None = None

    @property
    def empty(self) -> Path:
        """Where a user begins."""
        return self.folder / "empty"

    def start(self, folder: Path, *arguments: str) -> "subprocess.Popen[str]":
        """Type a command in a folder, in a session of its own."""
        return subprocess.Popen(
            arguments,
            executable=self.folder / "environment" / "bin" / arguments[0],
            cwd=folder,
            env={
                "PATH": f"{self.folder / 'environment' / 'bin'}:/usr/bin:/bin",
                "HOME": str(self.folder / "home"),
                "TMPDIR": str(self.folder / "temporary"),
                "LANG": "C.UTF-8",
                # Of a base that is linked: it names its library by where it was built.
                "LD_LIBRARY_PATH": str(self.folder / "base" / "lib"),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            user=self.uid,
            group=self.uid,
            extra_groups=None if self.uid is None else [],
        )

    def run(self, folder: Path, *arguments: str, text: str = "") -> Done:
        """Type a command in a folder, and wait for its end."""
        with self.start(folder, *arguments) as process:
            out, err = process.communicate(text)
        return Done(process.returncode, out, err)

    def list_strays(self) -> list[str]:
        """Return what was written outside `empty`; of the tests' own user not what others see."""
        strays = [file for name in ("home", "temporary") for file in (self.folder / name).iterdir()]
        if self.uid is not None:
            places = (Path(place) for place in _PUBLIC_PLACES)
            public = (file for place in places if place.is_dir() for file in place.iterdir())
            # The memory of servers that this user runs at the moment goes with them.
            strays += [
                file
                for file in public
                if _owner_of(file) == self.uid and not file.name.startswith("PostgreSQL.")
            ]
        return list(map(str, strays))


def _owner_of(file: Path) -> int | None:
    try:
        return file.lstat().st_uid
    except FileNotFoundError:  # somebody else's, who has deleted it
        return None


def list_files(folder: Path) -> set[Path]:
    """Return all that is in a folder but PostgreSQL's own files, which a server's start changes."""
    return {file for file in folder.rglob("*") if not {"base", "pg_wal"} & set(file.parts)}


def _users() -> list[int | None]:
    """Root, and somebody who may do nothing; else the one who runs the tests."""
    return [None, _ordinary_uid()] if os.geteuid() == 0 else [None]


def _ordinary_uid() -> int:
    uids = {entry.pw_name: entry.pw_uid for entry in pwd.getpwall()}
    return next(uids[name] for name in _ORDINARY_USERS if name in uids)


def _open_to_all(folder: Path, beside: Path) -> Path:
    """Return a folder as everybody may enter it: itself, or hard links where root's hides it.

    Bytecode comes along: an ordinary user's commands cannot write it, and each would compile all.
    """
    if can_enter(ServerUser("nameless", _NAMELESS_UID, _NAMELESS_UID), folder):
        return folder
    left_out = shutil.ignore_patterns("site-packages", "test")
    shutil.copytree(folder, beside, symlinks=True, copy_function=os.link, ignore=left_out)
    return beside


@pytest.fixture(scope="module")
def environment(wheel: Path) -> Iterator[Path]:
    """A folder with an environment that has the wheel; root's embedded server may enter it."""
    folder = Path(os.environ["CALLKEEPER_TESTS_FOLDER"]) / f"wheel-{uuid.uuid4().hex}"
    folder.mkdir()
    base, packages = Path(sys.base_prefix), Path(sysconfig.get_paths()["purelib"])
    if os.geteuid() == 0:
        base = _open_to_all(base, folder / "base")
        packages = _open_to_all(packages, folder / "packages")
    python = folder / "environment" / "bin" / "python"
    subprocess.run(
        [base / "bin" / "python3", "-m", "venv", "--without-pip", python.parents[1]],
        check=True,
        env={"LD_LIBRARY_PATH": str(base / "lib")},
    )
    install = ("install", "--quiet", "--no-deps", "--no-index", "--disable-pip-version-check")
    subprocess.run([sys.executable, "-m", "pip", "--python", python, *install, wheel], check=True)
    (own,) = python.parents[1].glob("lib/python*/site-packages")
    (own / "dependencies.pth").write_text(str(packages))
    yield folder
    shutil.rmtree(folder)


def _say_who(uid: int | None) -> str:
    return "ordinary user" if uid else "user of the tests"


@pytest.fixture(params=_users(), ids=_say_who)
def machine(environment: Path, request: pytest.FixtureRequest) -> Iterator[Machine]:
    """A machine on which nothing was typed yet; its environment is as it was when all is done."""
    with run_machine(environment, request.param) as machine:
        yield machine


@contextmanager
def run_machine(environment: Path, uid: int | None) -> Iterator[Machine]:
    """A machine of a user, while the block runs."""
    machine = Machine(environment, uid)
    for name in ("empty", "home", "temporary"):
        (environment / name).mkdir()
        if machine.uid is not None:
            os.chown(environment / name, machine.uid, machine.uid)
    installed = sorted((environment / "environment").rglob("*"))
    yield machine
    for data in environment.rglob("postgres/data"):
        stop_postmaster(data)
    for name in ("empty", "home", "temporary"):
        shutil.rmtree(environment / name)
    assert sorted((environment / "environment").rglob("*")) == installed


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


@pytest.mark.parametrize("machine", _users()[-1:], ids=_say_who, indirect=True)
def test_the_demo_runs_to_its_end_in_an_empty_folder(machine: Machine) -> None:
    shown = machine.run(machine.empty, "callkeeper", "demo", "--days", "2", "--calls-per-day", "9")
    assert shown.code == 0, shown.out + shown.err
    assert "12. A first question" in shown.out
    assert "With your own account:  callkeeper init my-calls" in shown.out
    assert [file.name for file in machine.empty.iterdir()] == [".callkeeper"]
    assert machine.list_strays() == []


@pytest.mark.parametrize("machine", _users()[:1], ids=_say_who, indirect=True)
def test_before_there_is_a_project_it_is_named_what_makes_one(machine: Machine) -> None:
    for command in (["check"], ["status"], ["add", "main_office"], ["dev"]):
        refused = machine.run(machine.empty, "callkeeper", *command)
        assert refused.code == 1
        assert f"{machine.empty} is no project of callkeeper's" in refused.err
        assert "`callkeeper init` in an empty folder" in refused.err
    assert machine.run(machine.empty, "callkeeper", "load", "--help").code == 0
    assert list(machine.empty.iterdir()) == []
    assert machine.list_strays() == []


@pytest.mark.parametrize(
    "machine",
    # An ordinary user's demo goes the same way, but for `dev`: the rest of it is the long form's.
    [_users()[0], *(pytest.param(uid, marks=pytest.mark.chaos) for uid in _users()[1:])],
    ids=_say_who,
    indirect=True,
)
def test_the_first_own_day_is_loaded_with_five_commands(machine: Machine) -> None:
    where = machine.run(machine.empty, "python", "-c", "import callkeeper_assets as c; print(c)")
    assert str(machine.folder / "environment") in where.out
    project = machine.empty / "calls"
    account = AccountSettings(key=KEY, name="main", calls_per_day=9, rhythm="flat")
    with run_simulator([account]) as simulator:
        made = machine.run(machine.empty, "callkeeper", "init", "calls")
        assert made.code == 0, made.err
        options = ("--key-stdin", "--base-url", simulator.base_url)
        added = machine.run(project, "callkeeper", "add", "main_office", *options, text=f"{KEY}\n")
        assert added.code == 0, added.out + added.err
        below = project / "defs" / "main_office"
        newest, days_loaded = days_ago(1), 2
        if machine.uid is None:
            newest, days_loaded = days_ago(0), 5
            checked = machine.run(below, "callkeeper", "check")
            assert checked.code == 0, checked.out + checked.err
            assert str(project / "dagster.yaml") in checked.out
            assert KEY not in checked.out
            refreshed = machine.run(project, "callkeeper", "refresh", "main_office", "--json")
            assert refreshed.code == 0, refreshed.out + refreshed.err
        days = ("--from", days_ago(1), "--to", days_ago(1))
        loaded = machine.run(below, "callkeeper", "load", "main_office", *days, "--json")
        assert loaded.code == 0, loaded.out + loaded.err
        with run_dev_by(lambda *words: machine.start(project, "callkeeper", *words)) as dev:
            launched = dev.backfill("main_office", ["raw_calls", *TABLES], [days_ago(9)])
            wait_until(
                lambda: dev.status_of(launched).startswith("COMPLETED"), "the backfill ends", 120
            )
            assert dev.status_of(launched) == "COMPLETED_SUCCESS"
        status = machine.run(
            machine.empty, "callkeeper", "--project", str(project), "status", "--json"
        )
    assert status.code == 0, status.out + status.err
    (source,) = status.document()["sources"]
    found = source["loaded"]
    assert (found["first_day"], found["last_day"], found["days"]) == (
        *(days_ago(9), newest),
        days_loaded,
    )
    if machine.uid is None:
        before = list_files(project)
        asked = machine.run(below, "callkeeper", "upgrade", "--dry-run", "--json")
        assert {change["state"] for change in asked.document()["changes"]} == {"current"}, asked.out
        # The server alone has begun another log.
        assert {file.name for file in list_files(project) ^ before} <= {"server.log.1"}
    assert KEY not in made.out + added.out + added.err + loaded.out + status.out
    assert [file.name for file in machine.empty.iterdir()] == ["calls"]
    assert [file.name for file in below.iterdir()] == ["defs.yaml"]
    assert machine.list_strays() == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_a_user_without_a_name_is_told_that_postgresql_needs_one(environment: Path) -> None:
    """A container that is started with a bare number has such a user."""
    with run_machine(environment, _NAMELESS_UID) as machine:
        assert machine.run(machine.empty, "callkeeper", "init").code == 0
        refused = machine.run(machine.empty, "callkeeper", "dev")
    assert refused.code == 1
    assert f"useradd --uid {_NAMELESS_UID}" in refused.err
