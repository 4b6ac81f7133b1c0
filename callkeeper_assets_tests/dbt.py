"""dbt, in an environment of its own, `build/dbt`, over that of the tests: made in the long form."""

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
_DBT: Final = _ROOT / "build" / "dbt"
# The newest whose dbt needs nothing that is built at the installation.
_PACKAGES: Final = ("dagster-dbt==0.29.27", "dbt-core==1.10.23", "dbt-postgres==1.9.1")


def find_dbt() -> Path:
    """Return the folder of its programs; the test that asks is skipped where they are not there."""
    programs = _DBT / "bin"
    if not (programs / "dbt").exists():
        if not IS_LONG:
            pytest.skip("dbt is installed by the long form: LONG=1")
        shutil.rmtree(_DBT, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", _DBT], check=True)
        (packages,) = _DBT.glob("lib/python*/site-packages")
        paths = (sysconfig.get_paths()["purelib"], str(_ROOT))
        (packages / "tests.pth").write_text("\n".join(paths))
        install = ("-m", "pip", "--python", programs / "python", "install", "--quiet")
        subprocess.run([sys.executable, *install, *_PACKAGES], check=True)
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
