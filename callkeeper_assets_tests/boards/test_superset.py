"""Superset itself: installed from the package index, the board imported by its own commands.

Minutes of work, so for `make boards` alone. Looks at the boards in Chromium where there is one.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest

from callkeeper_assets_tests.boards.bundles import (
    LANGUAGES,
    SUPERSET,
    Bundle,
    build_query,
    build_sql,
)
from callkeeper_assets_tests.boards.conftest import Loaded

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(3000)]

# Whoever comes without a name may see all: Chromium has no way to log in here.
_CONFIG: Final = """\
SECRET_KEY = "of a test that is over in minutes, and long enough"
SQLALCHEMY_DATABASE_URI = "sqlite:///{folder}/superset.db"
AUTH_ROLE_PUBLIC = "Admin"
TALISMAN_ENABLED = False
WTF_CSRF_ENABLED = False
"""
_ADMIN: Final = (
    *("--username", "admin", "--password", "admin", "--email", "admin@example.org"),
    *("--firstname", "An", "--lastname", "Admin"),
)
_PATIENCE_SEC: Final = 900
_TITLE: Final = "Calls and outcomes, day by day"


class Superset:
    """One, in a folder, with its programs in an environment of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._programs = folder / "venv" / "bin"
        (folder / "config.py").write_text(_CONFIG.format(folder=folder), "utf-8")
        self._environment = {
            "PATH": f"{self._programs}:{os.environ['PATH']}",
            "HOME": str(folder),
            "FLASK_APP": "superset.app:create_app()",
            "SUPERSET_CONFIG_PATH": str(folder / "config.py"),
            "SUPERSET_HOME": str(folder),
        }
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            self.port: int = one.getsockname()[1]
        self._token = ""

    def install(self) -> None:
        """Install what boards/superset/requirements.txt says, and prepare its own database."""
        uv = [sys.executable, "-m", "uv"]
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        python = str(self._programs / "python")
        for words in (
            ["venv", "--quiet", "--python", version, str(self.folder / "venv")],
            ["pip", "install", "--quiet", "--python", python, "-r", SUPERSET / "requirements.txt"],
        ):
            subprocess.run([*uv, *words], check=True, timeout=_PATIENCE_SEC)
        self.run("db", "upgrade")
        self.run("fab", "create-admin", *_ADMIN)
        self.run("init")

    def run(self, *words: str | Path) -> None:
        """Run one of its commands."""
        done = subprocess.run(
            ["superset", *words],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=_PATIENCE_SEC,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]

    @contextmanager
    def serve(self) -> Iterator[None]:
        """Serve its pages meanwhile."""
        log = (self.folder / "server.log").open("w")
        command = ["superset", "run", "--port", str(self.port)]
        with (
            log,
            subprocess.Popen(command, env=self._environment, stdout=log, stderr=log) as process,
        ):
            try:
                self._wait()
                named = {"username": "admin", "password": "admin", "provider": "db"}
                self._token = self.ask("security/login", named)["access_token"]
                yield
            finally:
                process.terminate()

    def _wait(self) -> None:
        end = time.monotonic() + _PATIENCE_SEC
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=60).close()
            except OSError:
                assert time.monotonic() < end, (self.folder / "server.log").read_text()[-3000:]
                time.sleep(1)
            else:
                return

    def ask(self, path: str, body: Mapping[str, Any] | None = None) -> Any:  # noqa: ANN401 -- JSON
        """Ask its API."""
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        if body is not None:
            headers["Content-Type"] = "application/json"
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/api/v1/{path}",
            None if body is None else json.dumps(body).encode(),
            headers,
        )
        try:
            with urllib.request.urlopen(request, timeout=300) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            pytest.fail(f"{path}: {error.code} {error.read().decode()[:1000]}")

    def list_charts(self) -> dict[str, dict[str, Any]]:
        """Return the datasets that charts ask, by the charts' titles."""
        found = self.ask("chart/?q=(page_size:100)")["result"]
        charts = {
            one["slice_name"]: {"id": one["datasource_id"], "type": one["datasource_type"]}
            for one in found
        }
        assert len(charts) == len(found)
        return charts


@pytest.fixture(scope="module")
def superset(loaded: Loaded, tmp_path_factory: pytest.TempPathFactory) -> Superset:
    """Superset with both bundles, imported as docs/boards.md says."""
    installed = Superset(tmp_path_factory.mktemp("superset"))
    installed.install()
    for language in LANGUAGES:
        folder = installed.folder / language
        script = [sys.executable, str(SUPERSET / "bundle.py"), language, str(folder)]
        subprocess.run(script, check=True, timeout=_PATIENCE_SEC)
        installed.run("import-dashboards", "-p", f"{folder}.zip", "-u", "admin")
    _point(installed, loaded)
    return installed


def _point(superset: Superset, loaded: Loaded) -> None:
    url = loaded.bi.replace("postgresql://", "postgresql+psycopg2://")
    superset.run("set-database-uri", "-d", "CallKeeper", "-u", url)


def test_superset_answers_each_chart_and_shows_the_board(
    superset: Superset, loaded: Loaded
) -> None:
    with superset.serve():
        charts = superset.list_charts()
        for language in LANGUAGES:
            bundle = Bundle(language)
            for key, chart in bundle.charts.items():
                rows = _ask(superset, charts[chart["slice_name"]], chart["params"])
                statement = build_sql(chart, bundle.dataset_of(chart)).encode()
                with psycopg.connect(loaded.bi) as connection:
                    assert len(rows) == connection.execute(statement).rowcount, key
            if shutil.which("chromium"):
                _look(superset, bundle)
        # The period of the board: of ten days, those that lie within it.
        params = Bundle("en").charts["calls_by_day"]["params"]
        (period,) = params["adhoc_filters"]
        narrow = {**params, "adhoc_filters": [{**period, "comparator": "Last week"}]}
        days = {row["local_time"] for row in _ask(superset, charts[_title("calls_by_day")], narrow)}
        assert 6 <= len(days) <= 8


def _title(key: str) -> str:
    title: str = Bundle("en").charts[key]["slice_name"]
    return title


def _ask(
    superset: Superset, dataset: Mapping[str, Any], params: Mapping[str, Any]
) -> list[dict[str, Any]]:
    query = {
        "datasource": dataset,
        "queries": [build_query(params)],
        "result_format": "json",
        "result_type": "full",
    }
    (result,) = superset.ask("chart/data", query)["result"]
    assert result["error"] is None
    rows: list[dict[str, Any]] = result["data"]
    return rows


def _look(superset: Superset, bundle: Bundle) -> None:
    """See that the board's page has every chart, and no message in a chart's place."""
    page = f"http://127.0.0.1:{superset.port}/superset/dashboard/{bundle.dashboard['slug']}/"
    browser = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    seen = subprocess.run(
        [*browser, "--window-size=1500,2250", "--virtual-time-budget=60000", page],
        capture_output=True,
        text=True,
        timeout=_PATIENCE_SEC,
        check=True,
    ).stdout
    for chart in bundle.charts.values():
        assert chart["slice_name"] in seen
    assert seen.count("<canvas") >= 6
    for message in ("Data error", "Unexpected error", "No results were returned", "not-found"):
        assert message not in seen


def test_a_newer_bundle_replaces_charts_and_adds_none(superset: Superset, loaded: Loaded) -> None:
    """As docs/boards.md says: `import-dashboards` would leave charts that are there as they are."""
    folder = superset.folder / "en"
    chart = folder / "charts" / "calls_by_day.yaml"
    chart.write_text(chart.read_text("utf-8").replace(_title("calls_by_day"), _TITLE), "utf-8")
    superset.run("import-directory", "--overwrite", folder)
    _point(superset, loaded)
    with superset.serve():
        charts = superset.list_charts()
        assert len(charts) == 2 * len(Bundle("en").charts)
        assert _TITLE in charts
        for key in ("freshness", "campaigns"):
            assert _ask(superset, charts[_title(key)], Bundle("en").charts[key]["params"])
