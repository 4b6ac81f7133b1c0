"""The embedded database moved, as it is, into a PostgreSQL of the user's own, 15 or newer.

`pg_dump` of the embedded version says how tables and indexes are made; what only newer servers
know is left out. Rows go straight from one connection to the other. The target gets all of it in
one transaction, or nothing; the embedded one is read, and stays as it was.
"""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from callkeeper_assets.postgres.binaries import find_programs
from callkeeper_assets.postgres.embedded import EmbeddedPostgres
from callkeeper_assets.postgres.errors import DatabaseError
from callkeeper_assets.postgres.locks import STORAGE_LOCK
from callkeeper_assets.postgres.url import check_writable, connect, describe

_Connection = psycopg.Connection[tuple[object, ...]]

# What pg_dump 17 and newer write for every server, and an older one does not know; and what only
# psql understands.
_LEFT_OUT: Final = ("SET transaction_timeout = ", "\\restrict ", "\\unrestrict ")

_RELATIONS: Final = """
    SELECT n.nspname, c.relname, c.relkind::text
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'v', 'm', 'S', 'p', 'f')
        AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
        AND n.nspname NOT LIKE 'pg_temp%'
        AND NOT EXISTS (
            SELECT FROM pg_depend AS d
            WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
        )
    ORDER BY 1, 2
"""
_COLUMNS: Final = """
    SELECT attname FROM pg_attribute
    WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
    ORDER BY attnum
"""
_OTHERS: Final = """
    SELECT DISTINCT coalesce(nullif(application_name, ''), 'a program without a name')
    FROM pg_stat_activity
    WHERE datname = current_database() AND backend_type = 'client backend'
        AND pid <> pg_backend_pid() ORDER BY 1
"""


@dataclass(frozen=True)
class Moved:
    """What was moved.

    Attributes:
        tables: how many, Dagster's and those of reports included.
        rows: in all of them.
    """

    tables: int
    rows: int


def _dump(url: str, data: Path, snapshot: str, *options: str) -> bytes:
    """Have `pg_dump` write statements; the password is not among its arguments."""
    named = conninfo_to_dict(url)
    password = str(named.pop("password", ""))
    command: list[str] = [
        str(find_programs(data, None).path("pg_dump")),
        *("--no-owner", "--no-privileges", f"--snapshot={snapshot}", *options),
        f"--dbname={make_conninfo('', **named)}",
    ]
    done = subprocess.run(  # noqa: S603 -- a program of the wheel
        command, env={"PGPASSWORD": password, "LC_ALL": "C"}, capture_output=True, check=False
    )
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()
        raise DatabaseError(f"The embedded database could not be read by pg_dump: {said}")
    lines = done.stdout.splitlines(keepends=True)
    left_out = tuple(text.encode() for text in _LEFT_OUT)
    return b"".join(line for line in lines if not line.startswith(left_out))


def _copy_rows(source: _Connection, target: _Connection, schema: str, table: str) -> int:
    name = sql.Identifier(schema, table)
    quoted = name.as_string(source)
    columns = [str(column) for (column,) in source.execute(_COLUMNS, (quoted,)).fetchall()]
    if not columns:
        return 0
    named = sql.SQL(", ").join(map(sql.Identifier, columns))
    reading = sql.SQL("COPY {} ({}) TO STDOUT").format(name, named)
    writing = sql.SQL("COPY {} ({}) FROM STDIN").format(name, named)
    with source.cursor() as reader, target.cursor() as writer:
        with reader.copy(reading) as rows, writer.copy(writing) as taken:
            for part in rows:
                taken.write(part)
        if reader.rowcount != writer.rowcount:
            raise DatabaseError(
                f"Of the {reader.rowcount} rows of {schema}.{table} the new database took "
                f"{writer.rowcount}. Nothing was changed there; look for what keeps it from "
                f"taking rows, as an event trigger does."
            )
        return writer.rowcount


def _set_sequence(source: _Connection, target: _Connection, schema: str, name: str) -> None:
    sequence = sql.Identifier(schema, name)
    reading = sql.SQL("SELECT last_value, is_called FROM {}").format(sequence)
    [(value, is_called)] = source.execute(reading).fetchall()
    quoted = sequence.as_string(target)
    target.execute("SELECT setval(%s::regclass, %s, %s)", (quoted, value, is_called))


def _check_alone(source: _Connection) -> None:
    others = [str(name) for (name,) in source.execute(_OTHERS).fetchall()]
    if others:
        raise DatabaseError(
            f"The embedded database is in use: {', '.join(others)}. What is written meanwhile "
            f"would be missing in the new one. Stop `callkeeper dev`, let commands end, close BI "
            f"tools, and run this again."
        )


def _check_empty(target: _Connection, url: str, relations: list[tuple[str, ...]]) -> None:
    there = {row[:2] for row in target.execute(_RELATIONS).fetchall()}
    clashing = [f"{schema}.{name}" for schema, name, *_ in relations if (schema, name) in there]
    if clashing:
        more = f" and {len(clashing) - 3} more" if len(clashing) > 3 else ""  # noqa: PLR2004
        raise DatabaseError(
            f"The database {describe(url)} is not empty, it has {', '.join(clashing[:3])}{more}: "
            f"nothing was changed there. Name an empty one: "
            f"CREATE DATABASE callkeeper ENCODING 'UTF8' LOCALE 'C' TEMPLATE template0;"
        )


@contextmanager
def _explained(url: str) -> Iterator[None]:
    try:
        yield
    except psycopg.errors.InsufficientPrivilege as error:
        named = conninfo_to_dict(url)
        database, user = named.get("dbname"), named.get("user") or "its user"
        raise DatabaseError(
            f"The user may not make what is needed in {describe(url)}: "
            f"{error.diag.message_primary}. Nothing was changed there. Make the user the "
            f"database's owner: ALTER DATABASE {database} OWNER TO {user};"
        ) from None
    except psycopg.Error as error:
        said = error.diag.message_primary or str(error).partition("\n")[0]
        raise DatabaseError(
            f"The database could not be moved to {describe(url)}: {said}. Nothing was changed "
            f"there; the embedded one is as it was. Remedy what it says, and run this again."
        ) from None


def move_embedded(home: Path, target_url: str) -> Moved:
    """Copy the home's embedded database into an empty database of the user's own.

    Raises:
        DatabaseError: there is none, it is in use, or the target will not do; nothing is changed.
    """
    if not (home / "postgres").exists():
        raise DatabaseError(
            f"There is no embedded database in {home}: nothing is to be moved. Set "
            f"CALLKEEPER_DATABASE_URL, and the first load makes the tables there."
        )
    data = (home / "postgres").resolve() / "data"
    with (
        EmbeddedPostgres(home) as server,
        connect(server.start()) as source,
        connect(target_url) as target,
        _explained(target_url),
    ):
        check_writable(target)
        # A command that comes now waits for it, and is seen by the second look.
        source.execute("SELECT pg_try_advisory_lock(%s)", (STORAGE_LOCK,))
        _check_alone(source)
        source.rollback()
        source.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        source.read_only = True
        [snapshot] = source.execute("SELECT pg_export_snapshot()").fetchone() or ("",)
        relations = [tuple(map(str, row)) for row in source.execute(_RELATIONS).fetchall()]
        _check_empty(target, target_url, relations)

        def run(*options: str) -> None:
            target.execute(_dump(server.start(), data, str(snapshot), *options))

        run("--section=pre-data")
        tables = [(schema, name) for schema, name, kind in relations if kind == "r"]
        rows = sum(_copy_rows(source, target, *table) for table in tables)
        for schema, name, kind in relations:
            if kind == "S":
                _set_sequence(source, target, schema, name)
        run("--section=post-data")
        source.rollback()
        # Others that connected meanwhile may have written what was not copied.
        _check_alone(source)
        target.commit()
    return Moved(len(tables), rows)
