"""The schema comes by itself, is what is declared, and newer or foreign ones are left alone."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from importlib.resources import files

import psycopg
import pytest

from callkeeper_assets.warehouse.migrate import HEAD, VERSION_TABLE, ensure_schema
from callkeeper_assets.warehouse.records import SchemaError
from callkeeper_assets.warehouse.tables import TABLES
from callkeeper_assets_tests.templates import Template
from callkeeper_assets_tests.warehouse.raw_days import rows


@pytest.fixture(scope="session")
def template() -> Template:
    """No table yet: each test migrates by itself."""
    return Template.EMPTY


def test_the_migrated_database_is_what_the_tables_declare(database: str) -> None:
    ensure_schema(database)
    found = rows(
        database,
        """
        SELECT c.relnamespace::regnamespace::text, c.relname, a.attname,
            format_type(a.atttypid, a.atttypmod), NOT a.attnotnull, col_description(c.oid, a.attnum)
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        WHERE pg_table_is_visible(c.oid) AND c.relkind = 'r' AND a.attnum > 0
            AND c.relnamespace <> 'pg_catalog'::regnamespace
            AND c.relname <> 'callkeeper_alembic_version'
        ORDER BY c.relname, a.attnum
        """,
    )
    declared = [
        (
            table.schema,
            table.name,
            column.name,
            column.type,
            column.nullable,
            f"{column.description} [{column.unit}]" if column.unit else column.description,
        )
        for table in sorted(TABLES.values(), key=lambda t: t.name)
        for column in table.columns
    ]
    assert found == declared


def test_tables_that_lie_in_another_schema_are_named_not_made_anew(database: str) -> None:
    ensure_schema(database)
    with psycopg.connect(database) as connection:
        connection.execute("CREATE SCHEMA bi")
        connection.execute(f"ALTER TABLE {VERSION_TABLE} SET SCHEMA bi")
    with pytest.raises(SchemaError, match=r"are in the schema bi, .* SET SCHEMA public"):
        ensure_schema(database)


def test_a_schema_named_like_the_role_hides_nothing(database: str) -> None:
    """PostgreSQL's own search path begins with it."""
    with psycopg.connect(database) as connection:
        connection.execute("CREATE SCHEMA AUTHORIZATION CURRENT_USER")
    ensure_schema(database)
    (schema,) = rows(
        database, f"SELECT schemaname FROM pg_tables WHERE tablename = '{VERSION_TABLE}'"
    )
    assert schema == ("callkeeper_internal",)


def test_the_declared_keys_are_the_primary_keys(database: str) -> None:
    ensure_schema(database)
    found = rows(
        database,
        """
        SELECT c.relname, array_agg(a.attname::text ORDER BY k.place)
        FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
        CROSS JOIN unnest(i.indkey) WITH ORDINALITY AS k (attnum, place)
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
        WHERE i.indisprimary AND pg_table_is_visible(c.oid) AND c.relkind = 'r'
            AND c.relnamespace <> 'pg_catalog'::regnamespace
            AND c.relname <> 'callkeeper_alembic_version'
        GROUP BY c.relname
        """,
    )
    assert {name: tuple(key) for name, key in found} == {t.name: t.key for t in TABLES.values()}


def test_every_dimension_has_the_row_for_unknown(database: str) -> None:
    ensure_schema(database)
    for name in (t.name for t in TABLES.values() if t.name.startswith("general_")):
        if TABLES[name].role == "placeholder":
            continue
        assert rows(database, f"SELECT id FROM {name}") == [(1,)], name
    assert rows(database, "SELECT clientid FROM general_clientids") == [("not available",)]


def test_many_that_start_at_once_make_one_schema(database: str) -> None:
    with ThreadPoolExecutor(6) as pool:
        for result in [pool.submit(ensure_schema, database) for _ in range(6)]:
            result.result()
    assert rows(database, f"SELECT version_num FROM {VERSION_TABLE}") == [(HEAD,)]


def test_the_head_is_the_newest_migration() -> None:
    names = [
        f.name for f in (files("callkeeper_assets.warehouse.migrations") / "versions").iterdir()
    ]
    assert max(n.partition("_")[0] for n in names if n[0].isdigit()) == HEAD


def test_a_schema_that_is_up_to_date_costs_no_import_of_alembic(database: str) -> None:
    ensure_schema(database)
    code = (
        "import sys; from callkeeper_assets.warehouse.migrate import ensure_schema; "
        f"ensure_schema({database!r}); print('alembic' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_calls_of_an_older_schema_are_callbacks_and_not_rewritten(database: str) -> None:
    """A load of the same calls after the upgrade then finds nothing to update."""
    statements = import_module(
        "callkeeper_assets.warehouse.migrations.versions.0006_services_and_lost_webhooks"
    )._STATEMENTS
    ensure_schema(database)
    with psycopg.connect(database) as connection:
        connection.execute("ALTER TABLE callkeeper_calls DROP COLUMN service CASCADE")
        connection.execute(
            "INSERT INTO callkeeper_calls (account_id, call_id, called_at, is_final, origin, "
            "loaded_at) VALUES (2, 7, now(), true, 'api', now())"
        )
    before = rows(database, "SELECT ctid::text, xmin::text FROM callkeeper_calls")
    with psycopg.connect(database) as connection:
        for statement in statements[:2]:
            connection.execute(statement.encode())
    assert rows(database, "SELECT ctid::text, xmin::text FROM callkeeper_calls") == before
    assert rows(database, "SELECT service FROM callkeeper_calls") == [("callback",)]
    with psycopg.connect(database) as connection:
        connection.execute(
            "INSERT INTO callkeeper_calls (account_id, call_id, called_at, is_final, origin, "
            "loaded_at) VALUES (2, 8, now(), true, 'api', now())"
        )
    assert rows(database, "SELECT service FROM callkeeper_calls WHERE call_id = 8") == [(None,)]


def test_a_user_who_may_not_create_tables_is_told_what_to_grant(database: str) -> None:
    with psycopg.connect(database) as connection:
        name = f"reader_{connection.info.dbname}"
        connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'secret'".encode())
    place = database.rpartition("@")[2]
    with pytest.raises(SchemaError, match=r"permission denied.*GRANT CREATE ON SCHEMA") as caught:
        ensure_schema(f"postgresql://{name}:secret@{place}")
    assert "secret" not in str(caught.value)
    with psycopg.connect(database) as connection:
        connection.execute(f"DROP ROLE {name}".encode())


def test_a_newer_schema_is_refused_and_left_alone(database: str) -> None:
    ensure_schema(database)
    with psycopg.connect(database) as connection:
        connection.execute(f"UPDATE {VERSION_TABLE} SET version_num = '9999'".encode())
    with pytest.raises(SchemaError, match=r"newer version.*9999.*Update the program") as caught:
        ensure_schema(database)
    assert "password" not in str(caught.value)
    assert rows(database, f"SELECT version_num FROM {VERSION_TABLE}") == [("9999",)]


def test_what_was_stored_before_gets_its_week_and_the_most_of_its_days(database: str) -> None:
    """Stored by a version that knew neither: filled by the migration, without a raw call."""
    ensure_schema(database)
    with psycopg.connect(database) as connection:
        connection.execute("ALTER TABLE general_dates DROP COLUMN week_year CASCADE")
        connection.execute(
            "ALTER TABLE callkeeper_days DROP COLUMN most_calls, DROP COLUMN reading"
        )
        connection.execute("DROP TABLE general_costs_facts")
        connection.execute("UPDATE general_dates SET full_date = NULL, simple_date = NULL")
        connection.execute("INSERT INTO general_dates (id, full_date) VALUES (9, '2025-12-29')")
        connection.execute("INSERT INTO callkeeper_days VALUES (2, '2026-01-01', 40, 3)")
        statements = import_module(
            "callkeeper_assets.warehouse.migrations.versions.0007_true_to_the_source"
        )._STATEMENTS
        for statement in statements:
            if any(name in statement for name in ("general_", "most_calls")):
                connection.execute(statement)
    weeks = "SELECT id, week_year, simple_date IS NULL FROM general_dates ORDER BY 1"
    assert rows(database, weeks) == [(1, 1970, False), (9, 2026, True)]
    days = "SELECT raw_calls, non_final, most_calls FROM callkeeper_days"
    assert rows(database, days) == [(40, 3, 40)]
