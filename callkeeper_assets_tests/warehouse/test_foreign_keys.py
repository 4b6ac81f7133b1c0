"""Keys by which BI tools join: declared on a server that can, by whatever way it came to be."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from psycopg.conninfo import make_conninfo

from callkeeper_assets.postgres import connect
from callkeeper_assets.postgres.schemas import INTERNAL
from callkeeper_assets.postgres.snapshots import Snapshot, make_relations
from callkeeper_assets.warehouse.migrate import HEAD, VERSION_TABLE, ensure_schema
from callkeeper_assets_tests.contents import KEYS, KEYS_OF_STAR
from callkeeper_assets_tests.other_servers import serve
from callkeeper_assets_tests.templates import MakeDatabase, Template
from callkeeper_assets_tests.warehouse.raw_days import rows

_FACT: Final = """
    INSERT INTO callkeeper_calls_facts (
        account_id, calls_id, dates_id, clientids_id, traffic_id, sites_id, locations_id,
        began_at, outcome, has_recording
    ) VALUES (17, 99, 98, 97, 96, 95, 94, now(), 'unknown', false)
"""


def _drop_keys(url: str) -> None:
    """Leave the database as an older server leaves it that was upgraded."""
    with connect(url, autocommit=True) as connection:
        for table, name in connection.execute(
            "SELECT conrelid::regclass::text, conname FROM pg_constraint WHERE contype = 'f'"
        ).fetchall():
            connection.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}".encode())


def test_the_star_s_references_are_keys_that_nothing_enforces(database: str) -> None:
    assert rows(database, KEYS) == KEYS_OF_STAR
    enforced = "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND conenforced"
    assert rows(database, enforced) == [(0,)]


def test_rows_come_and_go_in_any_order(database: str) -> None:
    with connect(database, autocommit=True) as connection:
        connection.execute(_FACT)
        connection.execute("DELETE FROM general_dates; DELETE FROM general_accounts")
        connection.execute("TRUNCATE callkeeper_calls")
        connection.execute("TRUNCATE general_sites")
        assert connection.execute("SELECT count(*) FROM callkeeper_calls_facts").fetchone() == (1,)


def test_a_server_that_was_upgraded_gets_them(database: str) -> None:
    _drop_keys(database)
    ensure_schema(database)
    assert rows(database, KEYS) == KEYS_OF_STAR


def test_a_load_is_neither_waited_for_nor_ended_and_the_next_one_declares_them(
    database: str,
) -> None:
    _drop_keys(database)
    with connect(database) as load:
        load.execute(_FACT)
        ensure_schema(database)
        assert rows(database, KEYS) == []
        load.execute("DELETE FROM general_accounts")
        load.commit()
    ensure_schema(database)
    assert rows(database, KEYS) == KEYS_OF_STAR


def test_a_key_of_somebody_s_own_is_left_alone(database: str) -> None:
    _drop_keys(database)
    own = (
        "ALTER TABLE callkeeper_calls_facts ADD CONSTRAINT callkeeper_calls_facts_sites_id_fkey "
        "FOREIGN KEY (sites_id) REFERENCES general_sites (id)"
    )
    with connect(database, autocommit=True) as connection:
        connection.execute(own.encode())
    ensure_schema(database)
    assert rows(database, KEYS) == KEYS_OF_STAR
    enforced = "SELECT conname FROM pg_constraint WHERE contype = 'f' AND conenforced"
    assert rows(database, enforced) == [("callkeeper_calls_facts_sites_id_fkey",)]


def test_who_may_not_declare_them_works_without(database: str) -> None:
    """A role that only reads the version, and a session in which nothing may be written."""
    _drop_keys(database)
    name = f"receiver_{uuid.uuid4().hex[:8]}"
    with connect(database, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'a'".encode())
        connection.execute(f"GRANT USAGE ON SCHEMA {INTERNAL} TO {name}".encode())
        connection.execute(f"GRANT SELECT ON {VERSION_TABLE} TO {name}".encode())
    try:
        ensure_schema(make_conninfo(database, user=name, password="a"))
        ensure_schema(make_conninfo(database, options="-c default_transaction_read_only=on"))
        assert rows(database, KEYS) == []
    finally:
        with connect(database, autocommit=True) as connection:
            connection.execute(f"DROP OWNED BY {name}; DROP ROLE {name}".encode())


@pytest.fixture(scope="module", params=[16, 15])
def older(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of an older server's database, without anything."""
    folder = Path(os.environ["CALLKEEPER_TESTS_FOLDER"]) / f"server-{uuid.uuid4().hex}"
    with serve(request.param, folder) as url:
        yield url


def _copy(source: str, target: str) -> None:
    """Make in one database what another holds, as `move` and `restore` do it."""
    with connect(source) as connection, connect(target) as other:
        snapshot = Snapshot(connection, source)
        for section in ("pre-data", "post-data"):
            make_relations(other, snapshot.dump(section))
        other.execute(f"INSERT INTO {INTERNAL}.{VERSION_TABLE} VALUES ('{HEAD}')".encode())
        other.commit()


def test_an_older_server_has_none_and_what_comes_from_it_gets_them(
    database: str, older: str, make_database: MakeDatabase
) -> None:
    with connect(database, autocommit=True) as connection:
        connection.execute(
            "ALTER TABLE callkeeper_days ADD CONSTRAINT own CHECK (raw_calls > 0) NOT ENFORCED"
        )
    _copy(database, older)
    ensure_schema(older)
    assert rows(older, "SELECT conname FROM pg_constraint WHERE conname = 'own'") == []
    assert rows(older, KEYS) == []
    with make_database(Template.EMPTY) as newer:
        _copy(older, newer)
        ensure_schema(newer)
        assert rows(newer, KEYS) == KEYS_OF_STAR
