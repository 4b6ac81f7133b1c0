"""The printed address for BI connects as a role that reads the model and can do nothing else."""

import re
from pathlib import Path
from typing import Final

import psycopg
import pytest

from callkeeper_assets.cli.serving import WebAddress, print_greeting
from callkeeper_assets.postgres import EmbeddedPostgres
from callkeeper_assets.postgres.schemas import INTERNAL
from callkeeper_assets.warehouse.migrate import VERSION_TABLE
from callkeeper_assets.warehouse.tables import TABLES
from callkeeper_assets_tests.cli.conftest import CALLS_PER_DAY, callkeeper, days_ago

_REPORT: Final = """\
  reports:
    - name: talks
      structure:
        - table: talks
          key: [call]
          columns: {call: {path: id, type: bigint}}
"""
_HIDDEN: Final = (
    *(f"{INTERNAL}.{table.name}" for table in TABLES.values() if table.schema == INTERNAL),
    f"{INTERNAL}.{VERSION_TABLE}",
    "dagster.runs",
    "dagster.event_logs",
    "pg_authid",
)
_FORBIDDEN: Final = (
    *(f"SELECT count(*) FROM {table}" for table in _HIDDEN),
    "INSERT INTO general_sites (domain, key_hash) VALUES ('mine', md5('mine')::uuid)",
    "UPDATE general_accounts SET enabled = false",
    "DELETE FROM callkeeper_calls",
    "TRUNCATE callkeeper_calls",
    "DROP TABLE callkeeper_calls",
    "DROP VIEW calls",
    "ALTER TABLE callkeeper_calls ADD COLUMN mine int",
    "CREATE INDEX ON callkeeper_calls (status)",
    "COMMENT ON TABLE callkeeper_calls IS 'mine'",
    "SELECT id FROM callkeeper_calls FOR UPDATE",
    "SELECT nextval('callkeeper_calls_id_seq')",
    "CREATE TABLE mine (id int)",
    "CREATE VIEW mine AS SELECT 1",
    "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE TABLE dagster.mine (id int)",
    "CREATE TABLE callkeeper_internal.mine (id int)",
    "CREATE SCHEMA mine",
    "CREATE ROLE mine",
    "CREATE DATABASE mine",
    "ALTER ROLE callkeeper_bi SUPERUSER",
    "SET ROLE callkeeper",
    "ALTER SYSTEM SET log_statement = 'all'",
    "COPY (SELECT 1) TO PROGRAM 'id'",
    "COPY general_sites (domain) FROM '/etc/passwd'",
    "SELECT pg_read_file('PG_VERSION')",
)


def _find_address(said: str) -> str:
    (address,) = re.findall(r"BI: +(postgresql://\S+)", said)
    return str(address)


def _ask_status() -> str:
    done = callkeeper("status")
    assert done.code == 0, done.err
    return _find_address(done.out)


@pytest.mark.e2e
@pytest.mark.usefixtures("main_office")
def test_the_printed_address_reads_the_model_and_can_do_nothing_else(
    home: Path, defs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    period = ("--from", days_ago(1), "--to", days_ago(1))
    file = defs / "main_office" / "defs.yaml"
    with EmbeddedPostgres(home, sync=False) as server:
        url = server.start()
        assert callkeeper("load", "main_office", *period).code == 0
        status = callkeeper("status")
        address = _find_address(status.out)
        print_greeting(WebAddress("127.0.0.1", 3000), None, url, [])
        greeting = capsys.readouterr().out
        assert _find_address(greeting) == address
        port = url.rpartition(":")[2].partition("/")[0]
        assert f"ssh -N -L {port}:127.0.0.1:{port} " in greeting
        owners = (home / "postgres" / "password").read_text()
        assert owners not in status.out + status.err + greeting
        # A report's table that is made from now on is read, too.
        file.write_text(file.read_text() + _REPORT)
        assert callkeeper("report", "main_office", "talks", *period).code == 0
        with psycopg.connect(address, autocommit=True) as bi:
            for table in ("calls", "звонки", "callkeeper_calls_facts", "talks"):
                assert bi.execute(f"SELECT count(*) FROM {table}".encode()).fetchone() == (
                    CALLS_PER_DAY,
                )
            for statement in _FORBIDDEN:
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    bi.execute(statement.encode())
    _check_nowhere_else(home, address)


def _check_nowhere_else(home: Path, address: str) -> None:
    """See that no file but its own has the role's password."""
    password = address.rpartition("@")[0].rpartition(":")[2].encode()
    files = [*home.rglob("*"), *(home / "postgres").resolve().rglob("*")]
    having = [file for file in files if file.is_file() and password in file.read_bytes()]
    assert {file.name for file in having} == {"bi_password"}
    assert all(file.stat().st_mode & 0o077 == 0 for file in having)


@pytest.mark.usefixtures("main_office")
def test_of_a_database_of_one_s_own_it_is_said_how_to_make_such_a_role(
    database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status = callkeeper("status")
    print_greeting(WebAddress("127.0.0.1", 3000), None, database, [])
    place = database.rpartition("@")[2]
    for said in (status.out, capsys.readouterr().out):
        assert _find_address(said) == f"postgresql://ROLE@{place}"
        assert "callkeeper grant ROLE" in said


@pytest.mark.usefixtures("main_office")
def test_a_role_that_somebody_spoiled_is_mended_and_one_without_its_password_gets_one(
    home: Path,
) -> None:
    with (
        EmbeddedPostgres(home, sync=False) as server,
        psycopg.connect(server.start(), autocommit=True) as owner,
    ):
        assert callkeeper("inbox").code == 0, "it makes the tables"
        first = _ask_status()
        assert _ask_status() == first
        owner.execute("DROP OWNED BY callkeeper_bi; DROP ROLE callkeeper_bi")
        assert _ask_status() == first
        psycopg.connect(first).close()
        (home / "postgres" / "bi_password").unlink()
        second = _ask_status()
        assert second != first
        psycopg.connect(second).close()
        owner.execute("ALTER ROLE callkeeper_bi SUPERUSER")
        refused = callkeeper("status")
        assert refused.code == 0
        assert re.search(r"For BI: +none\n +The role 'callkeeper_bi' is a super", refused.out)
