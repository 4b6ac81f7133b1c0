"""`import callkeeper_assets as ck` in a notebook of a project, over the embedded database."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from callkeeper_assets.postgres import EmbeddedPostgres
from callkeeper_assets_tests.postgres.conftest import is_running

_PROJECT: Final = """\
[project]
name = "mine"
dependencies = ["callkeeper-assets"]
[tool.dg.project]
root_module = "mine"
"""
_SOURCE: Final = """\
type: callkeeper_assets.CallKeeperSource
attributes:
  api_key: {env: CALLKEEPER_API_KEY}
  start_date: 2026-01-01
"""
_NOTEBOOK: Final = """
import callkeeper_assets as ck
with ck.connect() as connection, connection.cursor() as cursor:
    cursor.execute("SELECT 1 AS one")
    print(cursor.fetch_arrow_table()["one"].to_pylist())
try:
    ck.calls(None, "2026-03-02", "2026-03-02")
except ck.NothingLoadedError as error:
    print(error)
"""


def _run_notebook(folder: Path) -> list[str]:
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("CALLKEEPER_", "DAGSTER_"))
    }
    done = subprocess.run(
        [sys.executable, "-c", _NOTEBOOK],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("is_served", [True, False], ids=["beside callkeeper dev", "alone"])
def test_a_notebook_in_any_folder_of_a_project_reads_the_embedded_database(
    made_home: Path, tmp_path: Path, is_served: bool
) -> None:
    """It starts the server if nobody has, lets it go at its end, and leaves others theirs."""
    (tmp_path / "pyproject.toml").write_text(_PROJECT)
    # The home is named where every command reads it, too.
    (tmp_path / ".env").write_text(f"CALLKEEPER_HOME={made_home}\n")
    source = tmp_path / "mine" / "defs" / "main_office" / "defs.yaml"
    source.parent.mkdir(parents=True)
    source.write_text(_SOURCE)
    notebooks = tmp_path / "notebooks" / "march"
    notebooks.mkdir(parents=True)
    server = EmbeddedPostgres(made_home, sync=False)
    if is_served:
        server.start()
    try:
        one, told = _run_notebook(notebooks)
        assert one == "[1]"
        assert told.startswith("Nothing is loaded yet in this database")
        assert is_running(made_home) is is_served
    finally:
        server.stop()
    assert not (notebooks / ".callkeeper").exists()
    assert not (tmp_path / ".callkeeper").exists()
