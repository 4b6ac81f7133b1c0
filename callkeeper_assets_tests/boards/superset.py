"""Apache Superset as tests run it: installed, asked, and its boards photographed."""

import json
import os
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

import pytest

from callkeeper_assets_tests.boards.bundles import SUPERSET

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
PATIENCE_SEC: Final = 900


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
            subprocess.run([*uv, *words], check=True, timeout=PATIENCE_SEC)
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
            timeout=PATIENCE_SEC,
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
        end = time.monotonic() + PATIENCE_SEC
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

    def look(self, slug: str, *words: str) -> str:
        """Open a board in Chromium, as nobody in particular; return what it prints."""
        page = f"http://127.0.0.1:{self.port}/superset/dashboard/{slug}/?standalone=1"
        browser = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu"]
        wanted = ["--hide-scrollbars", "--window-size=1500,2150", "--virtual-time-budget=60000"]
        return subprocess.run(
            [*browser, *wanted, *words, page],
            capture_output=True,
            text=True,
            timeout=PATIENCE_SEC,
            check=True,
        ).stdout
