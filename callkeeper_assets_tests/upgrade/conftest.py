"""An installation as an older version left it: its tables, raw calls and sources."""

import gzip
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest

from callkeeper_assets.postgres.url import connect
from callkeeper_assets.raw.store import RawStore
from callkeeper_assets_tests.templates import Template

_STORED: Final = Path(__file__).parent / "schema_0006"
SOURCES: Final = ("moved", "office")

# All that a reader sees of a call, without what is told by the order or the time of loading.
_CALLS: Final = """
    SELECT to_jsonb(c) - 'id' - 'account_id' - 'loaded_at' AS call,
        to_jsonb(f) - ARRAY['account_id', 'calls_id', 'clientids_id', 'traffic_id', 'sites_id',
            'locations_id'] AS facts,
        to_jsonb(t) - 'id' AS traffic, to_jsonb(l) - 'id' AS location, to_jsonb(s) - 'id' AS site,
        to_jsonb(v) - 'id' AS visitor, to_jsonb(d) AS minute
    FROM callkeeper_calls AS c
    JOIN general_accounts AS a ON a.account_id = c.account_id
    JOIN callkeeper_calls_facts AS f ON f.account_id = c.account_id AND f.calls_id = c.id
    JOIN general_traffic AS t ON t.id = f.traffic_id
    JOIN general_locations AS l ON l.id = f.locations_id
    JOIN general_sites AS s ON s.id = f.sites_id
    JOIN general_clientids AS v ON v.id = f.clientids_id
    JOIN general_dates AS d ON d.id = f.dates_id
    WHERE a.name = %s
    ORDER BY c.call_id
"""
_REPORTS: Final = """
    SELECT r.report, r.call_id, r.called_at, r.data
    FROM callkeeper_reports AS r JOIN general_accounts AS a ON a.account_id = r.account_id
    WHERE a.name = %s ORDER BY 1, 2
"""
_TALKS: Final = "SELECT call_id, content, talk_sec FROM talks ORDER BY 1"


@dataclass(frozen=True)
class Installation:
    """One of the two that are compared."""

    url: str
    store: RawStore

    def fetch(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Return a query's rows."""
        with psycopg.connect(self.url) as connection:
            return connection.execute(query.encode(), values).fetchall()

    def describe(self) -> dict[str, list[tuple[Any, ...]]]:
        """Return everything that is compared."""
        tables = {f"calls of {name}": self.fetch(_CALLS, name) for name in SOURCES}
        reports = {f"reports of {name}": self.fetch(_REPORTS, name) for name in SOURCES}
        return {**tables, **reports, "talks": self.fetch(_TALKS)}

    def call(self, call_id: int) -> tuple[dict[str, Any], ...]:
        """Return the call, its facts and its dimensions."""
        (found,) = (
            row
            for name in SOURCES
            for row in self.fetch(_CALLS, name)
            if row[0]["call_id"] == call_id
        )
        return found

    def last_load(self) -> int:
        """Return the newest row of the load log."""
        return int(self.fetch("SELECT max(id) FROM callkeeper_loads")[0][0])


@pytest.fixture(scope="session")
def template() -> Template:
    """No table yet: the stored installation brings its own."""
    return Template.EMPTY


@pytest.fixture
def environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Sources and raw calls as stored, in force."""
    home.mkdir(parents=True)
    shutil.copytree(_STORED / "defs", home / "defs")
    shutil.copytree(_STORED / "raw", home / "raw")
    monkeypatch.setenv("CALLKEEPER_DEFS", str(home / "defs"))
    for name in SOURCES:
        monkeypatch.setenv(f"{name.upper()}_API_KEY", "0123456789abcdef")
        monkeypatch.setenv(f"{name.upper()}_WEBHOOK_TOKEN", f"{name}-token-0123456789")
    return home


@pytest.fixture
def old(environment: Path, database: str) -> Installation:
    """The stored installation, nothing of it touched yet."""
    with connect(database, autocommit=True) as connection:
        connection.execute(gzip.decompress((_STORED / "public.sql.gz").read_bytes()))
    return Installation(database, RawStore(str(environment / "raw")))
