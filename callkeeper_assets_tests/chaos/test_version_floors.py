"""The oldest versions that `pyproject.toml` allows are installed, and load some days.

In an environment of its own, from the package index as pip is configured; what depends on the
packages named there may be newer, as it is for whoever installs this among old packages.
"""

import re
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from callkeeper_assets.home import project_root
from callkeeper_assets.simulator.server import run_simulator
from callkeeper_assets.simulator.settings import AccountSettings
from callkeeper_assets_tests.chaos.installation import KEY, SOURCE, Installation

_FLOOR = re.compile(r"([\w.\-]+(?:\[\w+\])?)>=([\w.]+)(,<[\w.]+)?(; .+)?")


def list_floors() -> list[str]:
    """Return the project's requirements, each at its oldest version."""
    project = tomllib.loads((project_root() / "pyproject.toml").read_text("utf-8"))["project"]
    found = [_FLOOR.fullmatch(one) for one in project["dependencies"]]
    assert all(found), "a requirement without an oldest version"
    return [f"{one[1]}=={one[2]}{one[4] or ''}" for one in found if one]


@pytest.fixture(scope="module")
def oldest_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that has the oldest versions."""
    folder = tmp_path_factory.mktemp("oldest")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    done = subprocess.run(
        [python, "-m", "pip", "install", "--quiet", *list_floors()],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return python


@pytest.mark.chaos
@pytest.mark.timeout(1800)
def test_the_oldest_versions_that_are_allowed_load(
    oldest_python: Path, home: Path, database: str
) -> None:
    made = Installation(home=home / "home", defs=home / "defs", database=database)
    installation = replace(made, python=str(oldest_python))
    account = AccountSettings(key=KEY, name=SOURCE, calls_per_day=30)
    with run_simulator([account]) as simulator:
        installation.add_source(simulator.base_url)
        days = ("--from", "2026-03-01", "--to", "2026-03-05")
        loaded = installation.run("load", SOURCE, *days, "--json")
        assert loaded.code == 0, loaded.stderr + loaded.stdout
        assert loaded.changes()["callkeeper_calls"][0] > 0
        again = installation.run("load", SOURCE, *days, "--json")
        assert again.changes()["callkeeper_calls"] == (0, 0, 0)
