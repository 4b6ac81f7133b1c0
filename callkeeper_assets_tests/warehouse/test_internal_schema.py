"""What people do not read is in a schema of its own, and whoever worked before works after."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import psycopg
import pytest

from callkeeper_assets.postgres import connect
from callkeeper_assets.postgres.schemas import INTERNAL
from callkeeper_assets.warehouse.grants import grant
from callkeeper_assets.warehouse.migrate import VERSION_TABLE, ensure_schema
from callkeeper_assets.warehouse.records import SchemaError
from callkeeper_assets.warehouse.tables import TABLES
from callkeeper_assets.warehouse.views import VIEWS
from callkeeper_assets_tests.contents import list_tables, read_all
from callkeeper_assets_tests.templates import MakeDatabase, Template
from callkeeper_assets_tests.warehouse.former import migrate_to
from callkeeper_assets_tests.warehouse.raw_days import rows

_FIND: Final = "SELECT count(*) FROM callkeeper_webhooks"
_NAMED: Final = f"SELECT count(*) FROM {INTERNAL}.callkeeper_webhooks"
_OWN_PATH: Final = """
    SELECT setconfig FROM pg_db_role_setting
    WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


@pytest.fixture(scope="session")
def template() -> Template:
    """No table yet: each test migrates by itself."""
    return Template.EMPTY


@contextmanager
def _role(database: str, *statements: str) -> Iterator[str]:
    """Make a role, execute statements for it as the owner; yield the URL as that role."""
    name = f"role_{uuid.uuid4().hex[:8]}"
    with connect(database, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'secret'".encode())
        for statement in statements:
            connection.execute(statement.format(role=name, database=_name(database)).encode())
    yield f"postgresql://{name}:secret@{database.rpartition('@')[2]}"
    with connect(database, autocommit=True) as connection:
        connection.execute(
            f"REASSIGN OWNED BY {name} TO CURRENT_USER; DROP OWNED BY {name}; "
            f"DROP ROLE {name}".encode()
        )


def _name(database: str) -> str:
    return database.rpartition("/")[2]


def _ask(url: str, statement: str) -> list[tuple[Any, ...]]:
    """Return a statement's rows as a person's psql gets them: no setting of ours."""
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(statement.encode()).fetchall()


def test_public_has_what_people_read_and_nothing_else(database: str) -> None:
    ensure_schema(database)
    with connect(database) as connection:
        tables = list_tables(connection)
    model = {table.name for table in TABLES.values() if table.schema == "public"}
    assert {name for name in tables if name.startswith("public.")} == {
        f"public.{name}" for name in model
    }
    assert {name for name in model if not name.startswith("general_")} == {
        "callkeeper_calls",
        "callkeeper_calls_facts",
        "callkeeper_reports",
        "callkeeper_discrepancies",
    }
    assert f"{INTERNAL}.{VERSION_TABLE}" in tables


def test_a_migrated_database_is_as_a_new_one_and_no_row_was_written(
    database: str, make_database: MakeDatabase
) -> None:
    migrate_to(database, "0013")
    with connect(database) as connection:
        connection.execute(
            "INSERT INTO callkeeper_keys (account_id, checked_at) VALUES (2, '2026-11-01')"
        )
    stored = "SELECT xmin::text, ctid::text FROM callkeeper_keys"
    before = rows(database, stored)
    ensure_schema(database)
    assert rows(database, stored) == before
    rows(database, "DELETE FROM callkeeper_keys RETURNING 1")
    with connect(database) as connection:
        migrated = read_all(connection)
    with make_database(Template.EMPTY) as new:
        ensure_schema(new)
        with connect(new) as connection:
            assert read_all(connection) == migrated


def test_rights_views_and_hand_written_grants_go_along(database: str) -> None:
    migrate_to(database, "0013")
    with (
        _role(database, "GRANT SELECT (id) ON callkeeper_webhooks TO {role}") as of_column,
        _role(database, "GRANT SELECT ON callkeeper_loads TO {role}") as of_table,
        _role(database, "GRANT SELECT ON callkeeper_calls TO {role}") as of_calls,
    ):
        with connect(database, autocommit=True) as connection:
            connection.execute("CREATE VIEW mine AS SELECT count(*) FROM callkeeper_loads")
        ensure_schema(database)
        assert _ask(of_column, f"SELECT count(id) FROM {INTERNAL}.callkeeper_webhooks") == [(0,)]
        assert _ask(of_table, f"SELECT count(*) FROM {INTERNAL}.callkeeper_loads") == [(0,)]
        assert _ask(of_calls, "SELECT count(*) FROM callkeeper_calls") == [(0,)]
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match=INTERNAL):
            _ask(of_calls, _NAMED)
        assert rows(database, "SELECT * FROM mine") == [(0,)]


def test_who_could_read_as_everybody_can_goes_on(database: str) -> None:
    migrate_to(database, "0013")
    with connect(database, autocommit=True) as connection:
        connection.execute("GRANT SELECT ON callkeeper_loads TO PUBLIC")
    with _role(database) as url:
        ensure_schema(database)
        assert _ask(url, f"SELECT count(*) FROM {INTERNAL}.callkeeper_loads") == [(0,)]


def test_what_somebody_makes_in_public_hides_no_table_of_the_programs(database: str) -> None:
    """By accident, as for an old tool that names `public`, or not."""
    ensure_schema(database)
    with (
        _role(database, "GRANT CREATE ON SCHEMA public TO {role}") as url,
        connect(url, autocommit=True) as other,
    ):
        for table in (VERSION_TABLE, "callkeeper_loads", "callkeeper_webhooks"):
            other.execute(f"CREATE TABLE public.{table} (version_num text)".encode())
        ensure_schema(database)
        with connect(database, autocommit=True) as connection:
            found = connection.execute(
                "SELECT to_regclass(name)::oid = ('callkeeper_internal.' || name)::regclass "
                "FROM unnest(%s::text[]) AS name",
                ([VERSION_TABLE, "callkeeper_loads", "callkeeper_webhooks"],),
            ).fetchall()
            assert found == [(True,)] * 3
        with _role(database) as receiver:
            grant(database, receiver.partition("://")[2].partition(":")[0], "receiver")
            assert _ask(receiver, _NAMED) == [(0,)]


def test_the_owner_finds_all_tables_by_their_names_alone(database: str) -> None:
    ensure_schema(database)
    assert _ask(database, _FIND) == [(0,)]
    assert _ask(database, "SELECT current_schema()") == [("public",)]
    assert _ask(database, _OWN_PATH) == [([f'search_path="$user", public, {INTERNAL}'],)]


@pytest.mark.parametrize(
    "setting",
    [
        "ALTER ROLE {role} SET search_path = mine",
        "ALTER ROLE {role} IN DATABASE {database} SET search_path = mine",
        "ALTER DATABASE {database} SET search_path = mine",
    ],
)
def test_a_path_that_somebody_has_set_stays(database: str, setting: str) -> None:
    owner = "ALTER DATABASE {database} OWNER TO {role}"
    with _role(database, owner, setting) as url:
        ensure_schema(url)
        assert _ask(url, "SHOW search_path") == [("mine",)]
        assert _ask(url, _NAMED) == [(0,)]


def test_who_may_make_no_schema_is_told_and_one_that_is_made_is_taken(database: str) -> None:
    with _role(database, "GRANT CREATE ON SCHEMA public TO {role}") as url:
        with pytest.raises(SchemaError, match=f"CREATE SCHEMA {INTERNAL} AUTHORIZATION"):
            ensure_schema(url)
        assert rows(database, "SELECT * FROM pg_tables WHERE schemaname = 'public'") == []
        role = url.partition("://")[2].partition(":")[0]
        with connect(database, autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {INTERNAL} AUTHORIZATION {role}".encode())
        ensure_schema(url)
        assert _ask(url, _FIND) == [(0,)]


def test_an_administrator_who_migrates_leaves_the_schema_to_the_tables_owner(database: str) -> None:
    with _role(database, "ALTER DATABASE {database} OWNER TO {role}") as url:
        migrate_to(url, "0013")
        ensure_schema(database)
        with connect(url, autocommit=True) as connection:
            assert connection.execute(_FIND).fetchall() == [(0,)]
            connection.execute(f"CREATE TABLE {INTERNAL}.later (id int)".encode())
        name = url.partition("://")[2].partition(":")[0]
        with connect(database, autocommit=True) as connection:
            for view in VIEWS:  # as where they were before
                connection.execute(f'ALTER VIEW "{view}" OWNER TO {name}'.encode())
        with _role(database) as receiver:
            grant(url, receiver.partition("://")[2].partition(":")[0], "receiver")
            assert _ask(receiver, _NAMED) == [(0,)]


def test_who_may_not_enter_is_told_so_and_makes_nothing_anew(database: str) -> None:
    ensure_schema(database)
    with (
        _role(database, "GRANT CREATE ON SCHEMA public TO {role}") as url,
        pytest.raises(SchemaError, match=f"may not look into the schema {INTERNAL}"),
    ):
        ensure_schema(url)
