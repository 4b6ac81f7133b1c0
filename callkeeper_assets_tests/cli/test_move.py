"""`callkeeper move`: the embedded database into an older PostgreSQL, where the product goes on.

As a process, with what an installation has: Dagster's history, a report's own table, a view that
somebody made for BI. 16 comes with the wheel; the long form tries 15, too, where it is here.
"""

import os
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest

from callkeeper_assets.postgres import EmbeddedPostgres
from callkeeper_assets.postgres.binaries import find_programs
from callkeeper_assets.simulator.server import RunningSimulator, run_simulator
from callkeeper_assets.simulator.settings import AccountSettings
from callkeeper_assets_tests.chaos.installation import KEY, SOURCE, Installation
from callkeeper_assets_tests.contents import KEYS, KEYS_OF_STAR, list_tables, read_all
from callkeeper_assets_tests.other_servers import serve

FIRST, LAST, NEXT = date(2026, 1, 10), date(2026, 1, 12), date(2026, 1, 13)
REPORT: Final = """\
  reports:
    - name: talks
      structure:
        - table: talks
          key: [call]
          columns: {call: {path: id, type: bigint}, phone: {path: phone2, type: text}}
"""


@pytest.fixture(scope="module")
def simulator() -> Iterator[RunningSimulator]:
    """CallKeeper with one account."""
    account = AccountSettings(key=KEY, name=SOURCE, calls_per_day=12, rhythm="flat")
    with run_simulator([account]) as running:
        yield running


@pytest.fixture(scope="module")
def embedded(simulator: RunningSimulator) -> Installation:
    """An installation that has worked with the embedded database."""
    folder = Path(os.environ["CALLKEEPER_TESTS_FOLDER"]) / uuid.uuid4().hex
    made = Installation(home=folder, defs=folder / "defs", database="")
    made.add_source(simulator.base_url)
    file = made.defs / SOURCE / "defs.yaml"
    file.write_text(file.read_text() + REPORT)
    period = ("--from", str(FIRST), "--to", str(LAST))
    assert made.load(FIRST, LAST).code == 0
    assert made.run("report", SOURCE, "talks", *period).code == 0
    with made.connect() as connection:
        connection.execute("CREATE VIEW for_bi AS SELECT call, phone FROM talks")
        connection.execute("CREATE ROLE reader")
        connection.execute("GRANT SELECT ON for_bi TO reader")
        connection.execute("COMMENT ON VIEW for_bi IS 'окна; it''s\nSET transaction_timeout'")
    return made


@pytest.fixture(scope="module", params=[16, pytest.param(15, marks=pytest.mark.chaos)])
def server(request: pytest.FixtureRequest) -> Iterator[str]:
    """A PostgreSQL of one's own, older than the embedded one."""
    folder = Path(os.environ["CALLKEEPER_TESTS_FOLDER"]) / f"server-{uuid.uuid4().hex}"
    with serve(request.param, folder) as url:
        yield url


@pytest.fixture
def target(server: str) -> str:
    """An empty database in it, and a user who owns that and nothing else."""
    name = f"d{uuid.uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'secret'".encode())
        connection.execute(
            f"CREATE DATABASE {name} OWNER {name} ENCODING 'UTF8' LOCALE 'C' "
            f"TEMPLATE template0".encode()
        )
    return f"postgresql://{name}:secret@{server.rpartition('@')[2].rpartition('/')[0]}/{name}"


def _read_all(installation: Installation) -> dict[str, Any]:
    with installation.connect() as connection:
        return read_all(connection)


def test_all_of_it_is_there_and_the_product_goes_on(embedded: Installation, target: str) -> None:
    before = _read_all(embedded)
    moved = embedded.run("move", target, "--json")
    assert moved.code == 0, moved
    tables = [name for name in before if "." in name]
    assert (moved.document["tables"], moved.document["rows"]) == (
        len(tables),
        sum(before[name][0] for name in tables),
    )
    assert "secret" not in moved.stdout + moved.stderr
    there = replace(embedded, database=target)
    assert _read_all(there) == before
    assert _read_all(embedded) == before, "it is only read"
    assert embedded.query(KEYS) == KEYS_OF_STAR
    assert there.query(KEYS) == [], "what it does not know is left out"
    with psycopg.connect(target) as as_a_person:
        as_a_person.execute("SELECT count(*) FROM callkeeper_webhooks")
    # New rows get new ids, days that are there are known, the report's table is still its own.
    loaded = there.load(FIRST, NEXT)
    assert loaded.code == 0, loaded.stdout + loaded.stderr
    assert loaded.changes()["callkeeper_calls"] == (12, 0, 0)
    period = ("--from", str(FIRST), "--to", str(NEXT))
    assert there.run("report", SOURCE, "talks", *period).code == 0
    assert there.query("SELECT count(*) FROM for_bi") == [(48,)]
    assert there.run("check").code == 0
    refused = embedded.run("move", target)
    assert refused.code == 1
    assert "is not empty, it has callkeeper_internal." in refused.stderr


def test_the_documented_way_of_before_fails_on_a_setting(
    embedded: Installation, target: str, tmp_path: Path
) -> None:
    """Why there is a command: `pg_restore` of 18 asks an older server for what it does not know."""
    with EmbeddedPostgres(embedded.home) as server:
        url = server.start()
        programs = find_programs((embedded.home / "postgres").resolve() / "data", None)
        file = tmp_path / "callkeeper.dump"
        dump = [str(programs.path("pg_dump")), "--format=custom", f"--file={file}", url]
        subprocess.run(dump, check=True)
        restore = [str(programs.path("pg_restore")), "--no-owner", f"--dbname={target}", str(file)]
        done = subprocess.run(restore, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert 'unrecognized configuration parameter "transaction_timeout"' in done.stderr


def test_a_database_in_use_is_not_moved(embedded: Installation, target: str) -> None:
    with embedded.connect():
        refused = embedded.run("move", target)
    assert refused.code == 1
    assert "The embedded database is in use: test. What is written meanwhile" in refused.stderr
    with replace(embedded, database=target).connect() as connection:
        assert list_tables(connection) == []


def test_a_user_who_may_not_make_tables_changes_nothing(
    embedded: Installation, server: str, target: str
) -> None:
    name = target.rpartition("/")[2]
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} OWNER TO CURRENT_USER".encode())
    refused = embedded.run("move", target)
    assert refused.code == 1
    assert "permission denied" in refused.stderr
    remedy = f"ALTER DATABASE {name} OWNER TO {name};"
    assert remedy in refused.stderr
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(remedy.encode())
    assert embedded.run("move", target).code == 0


def test_without_an_embedded_database_there_is_nothing_to_move(home: Path) -> None:
    installation = Installation(home=home / "home", defs=home, database="postgresql://u@h/d")
    refused = installation.run("move")
    assert refused.code == 1
    assert "There is no embedded database in" in refused.stderr
    assert replace(installation, database="").run("move").code == 2
