"""Rights of roles that need less than the owner of the tables, who loads and migrates.

By purpose: a BI tool reads the model alone; a receiver of webhooks adds to the inbox and reads no
payload; Dagster's web server and daemon know Dagster's tables and no calls; metrics read counts and
days. A role gets what its purpose needs and loses what else it has of these tables; other tables
are not touched. A new purpose is a line of `_RIGHTS`.
"""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal, get_args
from urllib.parse import quote, urlsplit, urlunsplit

import psycopg
from psycopg import sql

from callkeeper_assets.language import tr
from callkeeper_assets.postgres import connect, describe
from callkeeper_assets.postgres.embedded import make_password
from callkeeper_assets.postgres.errors import DatabaseError
from callkeeper_assets.postgres.locks import GRANTS_LOCK, lock_transaction
from callkeeper_assets.postgres.schemas import INTERNAL, PUBLIC
from callkeeper_assets.warehouse.migrate import VERSION_TABLE, ensure_schema
from callkeeper_assets.warehouse.tables import TABLES
from callkeeper_assets.warehouse.views import MARK, VIEWS

Purpose = Literal["bi", "receiver", "dagster", "metrics"]

PURPOSES: Final[tuple[Purpose, ...]] = get_args(Purpose)

# Of an inbox, all but the payloads.
_INBOX_COLUMNS: Final = "SELECT (id, account_id, call_id, digest, receipt, received_at, state)"
_RIGHTS: Final[Mapping[Purpose, Mapping[str, str]]] = {
    "bi": {
        # With discrepancies: whether the figures can be trusted is a board's question too; of calls
        # they hold no more than durations.
        table.name: "SELECT"
        for table in TABLES.values()
        if table.schema == PUBLIC
    },
    "receiver": {
        VERSION_TABLE: "SELECT",
        "general_accounts": "SELECT, INSERT",
        "callkeeper_webhooks": f"INSERT, {_INBOX_COLUMNS}",
        "callkeeper_webhook_repeats": "SELECT, INSERT",
        "callkeeper_webhook_hints": "SELECT",
        "callkeeper_forgotten_calls": "SELECT",
        "callkeeper_privacy_settings": "SELECT, INSERT",
        "callkeeper_receivers": "SELECT, INSERT, UPDATE, DELETE",
        "callkeeper_days": "SELECT",
        "callkeeper_loads": "SELECT",
    },
    "dagster": {},
    "metrics": {
        VERSION_TABLE: "SELECT",
        "general_accounts": "SELECT",
        "callkeeper_days": "SELECT",
        "callkeeper_loads": "SELECT",
        "callkeeper_discrepancies": "SELECT",
        "callkeeper_webhook_days": "SELECT",
    },
}
_PUBLIC, _INTERNAL, _DAGSTER = map(sql.Identifier, (PUBLIC, INTERNAL, "dagster"))
# For BI, of the embedded database.
READER: Final = "callkeeper_bi"

_ROLE: Final = """
    SELECT rolsuper, EXISTS (
        SELECT FROM pg_class AS c
        WHERE c.relowner = r.oid AND c.relnamespace IN (
            SELECT oid FROM pg_namespace
            WHERE nspname IN ('public', 'callkeeper_internal', 'dagster')
        )
    )
    FROM pg_roles AS r
    WHERE rolname = %s
"""
_THERE: Final = """
    SELECT n.nspname, c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND (
        n.nspname = 'dagster' OR pg_table_is_visible(c.oid) AND (
            c.relname = ANY(%(tables)s) OR EXISTS (
                SELECT FROM callkeeper_report_tables AS r WHERE r.table_name = c.relname
            )
        )
    ) OR c.relkind = 'v' AND n.nspname = 'public' AND c.relname = ANY(%(views)s)
        AND starts_with(obj_description(c.oid, 'pg_class'), %(mark)s)
    ORDER BY 1, 2
"""
_NUMBERS: Final = """
    SELECT pg_get_serial_sequence(%s, 'id')::regclass::text
    FROM information_schema.columns
    WHERE table_schema = %s AND table_name = %s AND column_name = 'id'
"""
# Who was granted reading all of some tables.
_READERS: Final = """
    SELECT r.rolname
    FROM pg_class AS c
    CROSS JOIN LATERAL aclexplode(c.relacl) AS a
    JOIN pg_roles AS r ON r.oid = a.grantee AND r.oid <> c.relowner
    WHERE c.relnamespace = 'public'::regnamespace AND c.relname = ANY(%(tables)s)
        AND a.privilege_type = 'SELECT'
    GROUP BY r.rolname
    HAVING count(DISTINCT c.oid) = cardinality(%(tables)s::text[])
"""

_Connection = psycopg.Connection[tuple[Any, ...]]


def grant(url: str, role: str, purpose: Purpose) -> list[str]:
    """Give a role what its purpose needs, and no more; return the statements that were executed.

    All of them or none. To be done again after an upgrade.

    Raises:
        DatabaseError: There is no such role, it has every right anyway, or whoever asks may not
            grant.
    """
    ensure_schema(url)
    with connect(url) as connection:
        lock_transaction(connection, GRANTS_LOCK)
        return _grant(connection, url, role, purpose)


def open_reader(url: str, folder: Path) -> str:
    """Return the URL of the embedded database as the role `READER`, which reads the model alone.

    Makes the role, or gives it what it lacks, if need be.

    Args:
        url: Of the role that owns the database.
        folder: For the file that has the password.

    Raises:
        DatabaseError: The database cannot be reached, or somebody gave the role every right.
    """
    ensure_schema(url)
    file = folder / "bi_password"
    is_new = not file.exists()
    password = make_password(file)
    with connect(url) as connection:
        lock_transaction(connection, GRANTS_LOCK)
        if is_new or READER not in _list_readers(connection, _find_rights(connection, "bi")):
            _make_reader(connection, password)
            _grant(connection, url, READER, "bi")
        _check_role(connection, url, READER)
    return name_as(url, READER, password)


def name_as(url: str, role: str, password: str = "") -> str:
    """Return a database's URL as another role."""
    parts = urlsplit(url)
    secret = f":{quote(password, safe='')}" if password else ""
    place = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{quote(role, safe='')}{secret}@{place}"))


def share_with_readers(connection: _Connection, table: str) -> None:
    """Let a report's new table be read by whoever was granted all else that is for BI."""
    for reader in _list_readers(connection, _RIGHTS["bi"]):
        connection.execute(
            sql.SQL("GRANT SELECT ON {} TO {}").format(
                sql.Identifier(PUBLIC, table), sql.Identifier(reader)
            )
        )


def _list_readers(connection: _Connection, tables: Collection[str]) -> list[str]:
    rows = connection.execute(_READERS, {"tables": list(tables)}).fetchall()
    return [name for (name,) in rows]


def _make_reader(connection: _Connection, password: str) -> None:
    name = sql.Identifier(READER)
    if connection.execute(_ROLE, (READER,)).fetchone() is None:
        connection.execute(sql.SQL("CREATE ROLE {}").format(name))
    # What a log of statements may have: the password cannot be told from it.
    verifier = connection.pgconn.encrypt_password(
        password.encode(), READER.encode(), b"scram-sha-256"
    )
    connection.execute(
        sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(name, sql.Literal(verifier.decode()))
    )


def _grant(connection: _Connection, url: str, role: str, purpose: Purpose) -> list[str]:
    _check_role(connection, url, role)
    statements = [one.as_string(connection) for one in _build_statements(connection, role, purpose)]
    for statement in statements:
        connection.execute(statement.encode())
    return statements


def _check_role(connection: _Connection, url: str, role: str) -> None:
    found = connection.execute(_ROLE, (role,)).fetchone()
    if found is None:
        raise DatabaseError(
            tr(
                "There is no role '{role}' in {database}. An administrator makes it: CREATE ROLE "
                "{quoted} LOGIN PASSWORD '…';",
                role=role,
                database=describe(url),
                quoted=sql.Identifier(role).as_string(connection),
            )
        )
    is_superuser, is_owner = found
    if is_superuser or is_owner:
        why = tr("is a superuser") if is_superuser else tr("owns tables of this database")
        raise DatabaseError(
            tr(
                "The role '{role}' {why}: no grant would keep it from anything. Name another one.",
                role=role,
                why=why,
            )
        )


def _list_there(connection: _Connection) -> list[tuple[str, str]]:
    """Return schema and name of all that is ours, and of Dagster's tables."""
    named = {"tables": [*TABLES, VERSION_TABLE], "views": list(VIEWS), "mark": MARK}
    return connection.execute(_THERE, named).fetchall()


def _find_rights(connection: _Connection, purpose: Purpose) -> dict[str, str]:
    rights = dict(_RIGHTS[purpose])
    if purpose == "bi":
        made = connection.execute("SELECT table_name FROM callkeeper_report_tables").fetchall()
        there = {name for schema, name in _list_there(connection) if schema == PUBLIC}
        wanted = (*VIEWS, *(name for (name,) in made))
        rights |= {name: "SELECT" for name in wanted if name in there}
    return rights


def _build_statements(
    connection: _Connection, role: str, purpose: Purpose
) -> Iterator[sql.Composed]:
    whom = sql.Identifier(role)
    there = _list_there(connection)
    tables = [sql.Identifier(schema, name) for schema, name in there]
    has_dagster = any(schema == "dagster" for schema, _ in there)
    database = sql.Identifier(connection.info.dbname)
    yield sql.SQL("REVOKE ALL ON {} FROM {}").format(sql.SQL(", ").join(tables), whom)
    yield sql.SQL("REVOKE CREATE ON SCHEMA {} FROM {}").format(_PUBLIC, whom)
    yield sql.SQL("REVOKE ALL ON SCHEMA {} FROM {}").format(_INTERNAL, whom)
    yield sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(database, whom)
    yield sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(_PUBLIC, whom)
    schemas = {name: schema for schema, name in there if schema != "dagster"}
    rights = _find_rights(connection, purpose)
    if INTERNAL in {schemas[name] for name in rights}:
        yield sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(_INTERNAL, whom)
    for name, privileges in rights.items():
        table = sql.Identifier(schemas[name], name)
        yield sql.SQL("GRANT {} ON {} TO {}").format(sql.SQL(privileges), table, whom)
        if "INSERT" in privileges:
            quoted = table.as_string(connection)
            for (sequence,) in connection.execute(_NUMBERS, (quoted, schemas[name], name)):
                yield sql.SQL("GRANT USAGE ON SEQUENCE {} TO {}").format(sql.SQL(sequence), whom)
    if has_dagster:
        yield from _build_statements_of_dagster(whom, purpose)
    elif purpose in {"dagster", "metrics"}:
        raise DatabaseError(
            tr(
                "Dagster's tables are not there yet. Start `callkeeper up` once, or `callkeeper "
                "daemon`, by the owner of the tables; then grant again."
            )
        )


def _build_statements_of_dagster(whom: sql.Identifier, purpose: Purpose) -> Iterator[sql.Composed]:
    yield sql.SQL("REVOKE ALL ON SCHEMA {} FROM {}").format(_DAGSTER, whom)
    if purpose == "dagster":
        everything = sql.SQL("SELECT, INSERT, UPDATE, DELETE")
        yield sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(_DAGSTER, whom)
        for kind, rights in (("TABLES", everything), ("SEQUENCES", sql.SQL("USAGE, SELECT"))):
            scope = sql.SQL(kind)
            yield sql.SQL("GRANT {} ON ALL {} IN SCHEMA {} TO {}").format(
                rights, scope, _DAGSTER, whom
            )
            # What an upgrade of Dagster adds.
            yield sql.SQL("ALTER DEFAULT PRIVILEGES IN SCHEMA {} GRANT {} ON {} TO {}").format(
                _DAGSTER, rights, scope, whom
            )
    elif purpose == "metrics":
        yield sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(_DAGSTER, whom)
        for name in ("runs", "daemon_heartbeats"):
            yield sql.SQL("GRANT SELECT ON {}.{} TO {}").format(
                _DAGSTER, sql.Identifier(name), whom
            )
