"""Serves `/metrics` for Prometheus and `/health` for who only asks whether all is well.

A thread of `callkeeper up`, or the process `callkeeper metrics`. It asks nobody for a password, and
tells no calls: names of sources, counts, days. Who asks often gets the same figures for some
seconds.
"""

import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

import psycopg
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from callkeeper_assets.config.errors import ConfigError
from callkeeper_assets.config.loading import defs_folder, load_sources
from callkeeper_assets.config.source import Source
from callkeeper_assets.home import UnreadableSecretError
from callkeeper_assets.monitoring.figures import Figures, gather, list_metrics
from callkeeper_assets.postgres.errors import DatabaseError
from callkeeper_assets.postgres.url import database_url

_KEPT_SEC: Final = 5.0
_REQUEST_SEC: Final = 10.0
# Dagster's daemon says that it lives every half minute, and ends itself when a part of it hangs.
_SILENCE: Final = timedelta(minutes=5)


class Watch(Collector):
    """The newest figures, gathered when somebody asks and they are older than some seconds."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._taken_at = -_KEPT_SEC
        self._figures: Figures | None = None
        self._problem = ""
        self._files: frozenset[tuple[str, int]] | None = None
        self._sources: list[Source] = []
        self._refused = 0
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def describe(self) -> Iterator[Metric]:
        """Yield nothing: the registry is not to gather when it is made."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics; the client library calls it."""
        with self._guard:
            self._gather()
            figures, sources, refused = self._figures, self._sources, self._refused
        return list_metrics(figures, sources, refused)

    def render(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def judge(self, now: datetime | None = None) -> dict[str, str]:
        """Return `status` (ok or failing), and how the database and Dagster's daemon are."""
        with self._guard:
            self._gather()
            figures, problem = self._figures, self._problem
        if figures is None:
            return {"status": "failing", "database": problem, "daemon": "unknown"}
        newest = max(figures.dagster.heartbeats.values(), default=None)
        is_alive = newest is not None and (now or datetime.now(UTC)) - newest < _SILENCE
        if newest is None:
            daemon = "never started"
        else:
            daemon = "alive" if is_alive else f"silent since {newest:%Y-%m-%d %H:%M:%S} UTC"
        return {
            "status": "ok" if is_alive else "failing",
            "database": "reachable",
            "daemon": daemon,
        }

    def _gather(self) -> None:
        if time.monotonic() - self._taken_at < _KEPT_SEC:
            return
        self._read_sources()
        try:
            self._figures, self._problem = gather(database_url(), self._sources), ""
        except (DatabaseError, UnreadableSecretError, psycopg.Error) as error:
            self._figures, self._problem = None, str(error)
        self._taken_at = time.monotonic()

    def _read_sources(self) -> None:
        """Read the sources if a file of theirs has changed; of hundreds it takes a second."""
        try:
            found = defs_folder().glob("*/defs.yaml")
            files = frozenset((str(file), file.stat().st_mtime_ns) for file in found)
            if files != self._files:
                sources, broken = load_sources()
                self._sources, self._refused, self._files = list(sources), len(broken), files
        except (ConfigError, OSError):
            self._sources, self._refused, self._files = [], 0, None


class _Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    timeout = _REQUEST_SEC
    server: "MonitoringServer"

    def do_GET(self) -> None:
        """Answer."""
        path = self.path.partition("?")[0]
        if path == "/metrics":
            self._send(HTTPStatus.OK, CONTENT_TYPE_LATEST, self.server.watch.render())
        elif path == "/health":
            judged = self.server.watch.judge()
            is_well = judged["status"] == "ok"
            status = HTTPStatus.OK if is_well else HTTPStatus.SERVICE_UNAVAILABLE
            self._send(status, "application/json", json.dumps(judged).encode())
        else:
            self._send(HTTPStatus.NOT_FOUND, "text/plain", b"/metrics or /health\n")

    def _send(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing: it is asked several times a minute."""

    def version_string(self) -> str:
        """Not tell which Python answers."""
        return "callkeeper"


class MonitoringServer(ThreadingHTTPServer):
    """Listens from the moment that it is made; `serve_forever` answers."""

    daemon_threads = True

    def __init__(self, host: str, port: int) -> None:
        self.watch = Watch()
        super().__init__((host, port), _Handler)
