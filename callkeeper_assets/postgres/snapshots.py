"""What a database holds at one moment: how it is made, by `pg_dump`, and its rows, by COPY.

Read in one transaction while others write; taken by an empty database of any version from 15 on, in
one transaction too. `pg_dump` alone would do for equal versions: what a newer one writes, an older
server refuses. Rows are COPY's text, which every version reads.
"""

import re
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from callkeeper_assets.language import tr
from callkeeper_assets.postgres.binaries import find_dumper
from callkeeper_assets.postgres.errors import DatabaseError
from callkeeper_assets.postgres.schemas import INTERNAL, PUBLIC
from callkeeper_assets.postgres.url import VERSION_FACTOR, check_writable, describe

Connection = psycopg.Connection[tuple[object, ...]]

# What pg_dump 17 and newer write for every server, and an older one does not know; what only psql
# understands; and what each database has, which is written where schemas are named.
_LEFT_OUT: Final = (
    "SET transaction_timeout = ",
    "\\restrict ",
    "\\unrestrict ",
    "CREATE SCHEMA public;",
)

# Constraints that enforce nothing, as pg_dump writes them: an older server refuses them.
_NOT_ENFORCED: Final = re.compile(
    rb"^ALTER TABLE [^\n]+\n    ADD CONSTRAINT [^\n]+ NOT ENFORCED;\n", re.MULTILINE
)
_FIRST_WITH_NOT_ENFORCED: Final = 180_000

_RELATIONS: Final = """
    SELECT n.nspname, c.relname, c.relkind::text
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'v', 'm', 'S', 'p', 'f')
        AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
        AND n.nspname NOT LIKE 'pg_temp%%'
        AND (n.nspname = ANY(%(schemas)s) OR cardinality(%(schemas)s) = 0)
        AND NOT EXISTS (
            SELECT FROM pg_depend AS d
            WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
        )
    ORDER BY 1, 2
"""
_OWN_SCHEMAS: Final = """
    SELECT nspname FROM pg_namespace
    WHERE nspname = ANY(%s) OR nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
        AND nspname NOT LIKE 'pg\\_%%' AND pg_has_role(nspowner, 'USAGE')
    ORDER BY 1
"""
_COLUMNS: Final = """
    SELECT attname FROM pg_attribute
    WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
    ORDER BY attnum
"""


class Relation(NamedTuple):
    """A table, view or sequence; `kind` as `pg_class.relkind` has it."""

    schema: str
    name: str
    kind: str


class SequenceState(NamedTuple):
    """Where a sequence stands."""

    schema: str
    name: str
    value: int
    is_called: bool


def list_relations(connection: Connection, schemas: Sequence[str] = ()) -> list[Relation]:
    """Return what there is, but for what belongs to extensions; of all schemas if none is named."""
    rows = connection.execute(_RELATIONS, {"schemas": list(schemas)}).fetchall()
    return [Relation(*map(str, row)) for row in rows]


def list_own_schemas(connection: Connection) -> list[str]:
    """Return the schemas of our tables, and others whose owner the user is."""
    rows = connection.execute(_OWN_SCHEMAS, ([PUBLIC, INTERNAL],)).fetchall()
    return [str(name) for (name,) in rows]


class Snapshot:
    """A database as it is at one moment, whatever is written meanwhile.

    Args:
        connection: In no transaction; it is in the snapshot's from then on, to its end.
        url: Of the same database.
        schemas: Only these; none means all.
    """

    def __init__(self, connection: Connection, url: str, schemas: Sequence[str] = ()) -> None:
        self._connection = connection
        self._url = url
        self._schemas = schemas
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        [self._id] = connection.execute("SELECT pg_export_snapshot()").fetchone() or ("",)
        self.relations = list_relations(connection, schemas)

    @property
    def tables(self) -> list[Relation]:
        """Those with rows."""
        return [one for one in self.relations if one.kind == "r"]

    def dump(self, section: str) -> bytes:
        """Return the statements that make what comes before the rows, or after them.

        Args:
            section: `pre-data` or `post-data`.

        Raises:
            DatabaseError: There is no `pg_dump` for the server, or it failed.
        """
        named = conninfo_to_dict(self._url)
        # Not among the arguments, which every user of the machine sees.
        password = str(named.pop("password", ""))
        program = find_dumper(self._connection.info.server_version // VERSION_FACTOR)
        command: list[str] = [
            str(program),
            *("--no-owner", "--no-privileges", f"--snapshot={self._id}", f"--section={section}"),
            *(f"--schema={_quote_pattern(name)}" for name in self._schemas),
            f"--dbname={make_conninfo('', **named)}",
        ]
        environment = {"PGPASSWORD": password, "LC_ALL": "C"}
        done = subprocess.run(command, env=environment, capture_output=True, check=False)  # noqa: S603 -- PostgreSQL's own
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip()
            raise DatabaseError(tr("The database could not be read by pg_dump: {said}", said=said))
        lines = done.stdout.splitlines(keepends=True)
        left_out = tuple(text.encode() for text in _LEFT_OUT)
        return b"".join(line for line in lines if not line.startswith(left_out))

    def list_columns(self, table: Relation) -> list[str]:
        """Return the columns that rows are copied of: not those that the server computes."""
        quoted = _name(table).as_string(self._connection)
        return [str(name) for (name,) in self._connection.execute(_COLUMNS, (quoted,)).fetchall()]

    @contextmanager
    def reading(self, table: Relation, columns: Sequence[str]) -> Iterator["Rows"]:
        """Read a table's rows; how many they were is known when all of them are read."""
        statement = sql.SQL("COPY {} ({}) TO STDOUT").format(_name(table), _list(columns))
        with self._connection.cursor() as cursor:
            yield Rows(cursor, statement)

    def read_sequences(self) -> list[SequenceState]:
        """Return where the sequences stand; they are of no moment, and never behind their rows."""
        return [self._read_sequence(one) for one in self.relations if one.kind == "S"]

    def _read_sequence(self, sequence: Relation) -> SequenceState:
        reading = sql.SQL("SELECT last_value, is_called FROM {}").format(_name(sequence))
        [(value, is_called)] = self._connection.execute(reading).fetchall()
        return SequenceState(sequence.schema, sequence.name, int(str(value)), bool(is_called))


class Rows:
    """A table's rows as COPY writes them, in parts; `count` afterwards says how many."""

    def __init__(
        self, cursor: "psycopg.Cursor[tuple[object, ...]]", statement: sql.Composed
    ) -> None:
        self._cursor = cursor
        self._statement = statement
        self.count = 0

    def __iter__(self) -> Iterator[bytes]:
        with self._cursor.copy(self._statement) as parts:
            yield from map(bytes, parts)
        self.count = self._cursor.rowcount


def check_empty(target: Connection, url: str, relations: Iterable[Sequence[str]]) -> None:
    """See that a database has nothing of what is to be made in it, and takes writing.

    Args:
        target: The connection.
        url: Of the database, for the error.
        relations: Schema and name of each, and whatever else.

    Raises:
        DatabaseError: It has.
    """
    check_writable(target)
    there = {(one.schema, one.name) for one in list_relations(target)}
    clashing = [f"{one[0]}.{one[1]}" for one in relations if (one[0], one[1]) in there]
    if clashing:
        more = tr(" and {count} more", count=len(clashing) - 3) if len(clashing) > 3 else ""  # noqa: PLR2004
        raise DatabaseError(
            tr(
                "The database {database} is not empty, it has {names}{more}: nothing was changed "
                "there. Name an empty one: CREATE DATABASE callkeeper ENCODING 'UTF8' LOCALE 'C' "
                "TEMPLATE template0;",
                database=describe(url),
                names=", ".join(clashing[:3]),
                more=more,
            )
        )


def make_relations(target: Connection, statements: bytes) -> None:
    """Execute what `Snapshot.dump` returned, without what the server does not know."""
    if target.info.server_version < _FIRST_WITH_NOT_ENFORCED:
        statements = _NOT_ENFORCED.sub(b"", statements)
    target.execute(statements)


def write_rows(
    target: Connection, table: Sequence[str], columns: Sequence[str], parts: Iterable[bytes]
) -> int:
    """Write rows as COPY gave them into a table of that name; return how many it took."""
    name = sql.Identifier(table[0], table[1])
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(name, _list(columns))
    with target.cursor() as cursor:
        with cursor.copy(statement) as taken:
            for part in parts:
                taken.write(part)
        return cursor.rowcount


def set_sequence(target: Connection, state: SequenceState) -> None:
    """Let a sequence stand where it stood."""
    quoted = sql.Identifier(state.schema, state.name).as_string(target)
    target.execute("SELECT setval(%s::regclass, %s, %s)", (quoted, state.value, state.is_called))


@contextmanager
def explaining(url: str, what: str) -> Iterator[None]:
    """Say what kept an empty database from taking what was read.

    Args:
        url: Of the database.
        what: Could not be done, as `could not be moved to`; and what is as it was.

    Raises:
        DatabaseError: In place of the driver's error.
    """
    try:
        yield
    except psycopg.errors.InsufficientPrivilege as error:
        named = conninfo_to_dict(url)
        database, user = named.get("dbname"), named.get("user") or tr("its user")
        raise DatabaseError(
            tr(
                "The user may not make what is needed in {database}: {said}. Nothing was changed "
                "there. Make the user the database's owner: ALTER DATABASE {name} OWNER TO "
                "{user};",
                database=describe(url),
                said=error.diag.message_primary,
                name=database,
                user=user,
            )
        ) from None
    except psycopg.Error as error:
        said = error.diag.message_primary or str(error).partition("\n")[0]
        raise DatabaseError(
            tr(
                "{what} {database}: {said}. Nothing was changed there. Remedy what it says, and "
                "run this again.",
                what=what,
                database=describe(url),
                said=said,
            )
        ) from None


def _name(relation: Relation) -> sql.Identifier:
    return sql.Identifier(relation.schema, relation.name)


def _list(columns: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, columns))


def _quote_pattern(name: str) -> str:
    """Return a name as pg_dump's patterns take it as it is."""
    doubled = name.replace('"', '""')
    return f'"{doubled}"'
