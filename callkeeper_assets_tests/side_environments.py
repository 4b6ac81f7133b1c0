"""Programs that read what we load, each in an environment of its own over that of the tests.

In `build`, made by the long form of tests.
"""

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy.engine import make_url

from callkeeper_assets_tests.extent import IS_LONG

_ROOT: Final = Path(__file__).parents[1]
# The newest whose dbt needs nothing that is built at the installation.
_DBT: Final = ("dagster-dbt==0.29.27", "dbt-core==1.10.23", "dbt-postgres==1.9.1")
_MARIMO: Final = ("marimo==0.25.2",)


def find_dbt() -> Path:
    """Return the folder of dbt's programs; who asks is skipped where they are not there."""
    return _find("dbt", _DBT)


def find_marimo() -> Path:
    """As `find_dbt`, of marimo, which runs notebooks."""
    return _find("marimo", _MARIMO)


def _find(name: str, wanted: tuple[str, ...]) -> Path:
    folder = _ROOT / "build" / name
    programs = folder / "bin"
    if not (programs / name).exists():
        if not IS_LONG:
            pytest.skip(f"{name} is installed by the long form: LONG=1")
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        (packages,) = folder.glob("lib/python*/site-packages")
        paths = (sysconfig.get_paths()["purelib"], str(_ROOT))
        (packages / "tests.pth").write_text("\n".join(paths))
        install = ("-m", "pip", "--python", programs / "python", "install", "--quiet")
        subprocess.run([sys.executable, *install, *wanted], check=True)
    return programs


def build_profile(name: str, url: str, schema: str = "public") -> dict[str, Any]:
    """Return dbt's profile of a database."""
    parts = make_url(url)
    output = {
        "type": "postgres",
        "host": parts.host,
        "port": parts.port,
        "user": parts.username,
        "password": parts.password,
        "dbname": parts.database,
        "schema": schema,
        "threads": 1,
    }
    return {name: {"target": "dev", "outputs": {"dev": output}}}
