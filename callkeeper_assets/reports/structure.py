"""Makes and changes the tables of reports: only those, and never with a loss.

A table is a report's if `callkeeper_report_tables` names it and it has the columns that every
report's table has; any other is left alone, whatever its name. Run before a load, a transaction a
table, so that no load holds one table while it waits for another.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg import sql

from callkeeper_assets.postgres.locks import REPORT_TABLES_LOCK, lock_transaction
from callkeeper_assets.postgres.schemas import PUBLIC
from callkeeper_assets.reports.definition import (
    ACCOUNT_COLUMN,
    ColumnType,
    ReportTable,
    StructureError,
)
from callkeeper_assets.warehouse.grants import share_with_readers
from callkeeper_assets.warehouse.migrate import PATIENCE, change_patiently

Connection = psycopg.Connection[Any]

REPORT_COLUMN: Final = "callkeeper_report"
DAY_COLUMN: Final = "callkeeper_day"
CALL_COLUMN: Final = "callkeeper_call_id"
# What every report's table has beside the user's columns: whose row it is, and of which day.
OWN_COLUMNS: Final[Mapping[str, str]] = {
    ACCOUNT_COLUMN: "integer",
    REPORT_COLUMN: "text",
    DAY_COLUMN: "date",
    CALL_COLUMN: "bigint",
}
_COMMENTS: Final[Mapping[str, str]] = {
    ACCOUNT_COLUMN: "The source, as general_accounts.account_id",
    REPORT_COLUMN: "The report that the row is of",
    DAY_COLUMN: "The day whose raw calls had it",
    CALL_COLUMN: "The call's id in CallKeeper",
}
SQL_TYPES: Final[Mapping[ColumnType, str]] = {
    "bigint": "bigint",
    "integer": "integer",
    "numeric": "numeric",
    "double": "double precision",
    "boolean": "boolean",
    "text": "text",
    "date": "date",
    "timestamp": "timestamp without time zone",
    "jsonb": "jsonb",
}
# To which types a column can be changed so that each of its values stays what it is.
_WIDER: Final[Mapping[str, tuple[str, ...]]] = {
    "integer": ("bigint", "numeric", "double precision"),
    "bigint": ("numeric",),
    "date": ("timestamp without time zone",),
}

_FIND = """
    SELECT
        c.oid,
        c.relkind = 'r',
        EXISTS (SELECT FROM callkeeper_report_tables AS r WHERE r.table_name = c.relname)
    FROM pg_class AS c
    WHERE c.relnamespace = 'public'::regnamespace AND c.relname = %s
"""
_COLUMNS = """
    SELECT a.attname::text, format_type(a.atttypid, a.atttypmod)
    FROM pg_attribute AS a
    WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped
"""
_KEY = """
    SELECT a.attname::text
    FROM pg_index AS i
    JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey)
    WHERE i.indrelid = %s AND i.indisprimary
"""
_MADE = "SELECT table_name FROM callkeeper_report_tables ORDER BY table_name"
_REGISTER = """
    INSERT INTO callkeeper_report_tables (table_name, made_by, made_at) VALUES (%s, %s, now())
    ON CONFLICT (table_name) DO UPDATE SET made_by = excluded.made_by, made_at = excluded.made_at
"""


def list_report_tables(connection: psycopg.Connection[Any]) -> list[str]:
    """Return the tables that reports have made, whether they are there or not, sorted."""
    return [name for (name,) in connection.execute(_MADE).fetchall()]


@dataclass(frozen=True)
class _Found:
    """A table as the database has it."""

    columns: Mapping[str, str]
    key: frozenset[str]


def prepare_table(url: str, connection: Connection, table: ReportTable, made_by: str) -> None:
    """Make the table if there is none; add columns that it lacks, widen types without a loss.

    A column that the report no longer has is left as it is.

    Args:
        url: of the database.
        connection: to it, in autocommit.
        table: as a report wants it.
        made_by: `source/report`.

    Raises:
        StructureError: the table is not a report's, or would lose something; nothing was changed.
        UnavailableError: others have it open for minutes.
    """
    change_patiently(url, [table.name], lambda: _prepare(connection, table, made_by))


def _prepare(connection: Connection, table: ReportTable, made_by: str) -> None:
    with connection.transaction():
        lock_transaction(connection, *REPORT_TABLES_LOCK)
        connection.execute(PATIENCE)
        found = _find(connection, table)
        if found is None:
            _create(connection, table, made_by)
            return
        _check_key(table, found)
        changes = [
            change for column in table.columns if (change := _plan(table, column.name, found))
        ]
        for change in changes:
            connection.execute(change)
        if changes:
            _describe(connection, table)


def _find(connection: Connection, table: ReportTable) -> _Found | None:
    row = connection.execute(_FIND, (table.name,)).fetchone()
    if row is None:
        return None
    oid, is_table, is_registered = row
    columns = dict(connection.execute(_COLUMNS, (oid,)).fetchall())
    if not is_table or not is_registered or not OWN_COLUMNS.items() <= columns.items():
        raise StructureError(
            f'There is a table, view or index "{table.name}" in the database already that no '
            f"report has made: it is left as it is. Choose another name for the report's table, "
            f"or rename the other one: {_alter(table.name)} RENAME TO …"
        )
    return _Found(columns, frozenset(name for (name,) in connection.execute(_KEY, (oid,))))


def _check_key(table: ReportTable, found: _Found) -> None:
    wanted = (ACCOUNT_COLUMN, *table.key)
    if frozenset(wanted) == found.key:
        return
    names = ", ".join(sorted(found.key)) or "nothing"
    raise StructureError(
        f'The key of the table "{table.name}" is {names}, the report says {", ".join(wanted)}. '
        f"Rows that are one under another key would be lost. To have the table made anew, and "
        f'filled from raw calls, run: DROP TABLE "{table.name}"'
    )


def _plan(table: ReportTable, name: str, found: _Found) -> sql.Composed | None:
    """Return the statement that a column needs, if any."""
    column = next(one for one in table.columns if one.name == name)
    wanted, has = SQL_TYPES[column.type], found.columns.get(name)
    if has == wanted:
        return None
    parts = {
        "table": sql.Identifier(table.name),
        "column": sql.Identifier(name),
        "type": sql.SQL(wanted),
    }
    if has is None:
        return sql.SQL("ALTER TABLE {table} ADD COLUMN {column} {type}").format(**parts)
    if wanted not in ("text", *_WIDER.get(has, ())):
        raise StructureError(
            f'The column "{name}" of the table "{table.name}" is {has}, the report says {wanted}: '
            f"values could be lost. To convert what is there, run: {_alter(table.name)} ALTER "
            f'COLUMN "{name}" TYPE {wanted} USING "{name}"::text::{wanted}; to have the column '
            f'made anew, and filled from raw calls, run: {_alter(table.name)} DROP COLUMN "{name}"'
        )
    return sql.SQL(
        "ALTER TABLE {table} ALTER COLUMN {column} TYPE {type} USING {column}::{type}"
    ).format(**parts)


def _alter(table: str) -> str:
    return f'ALTER TABLE "{table}"'


def _create(connection: Connection, table: ReportTable, made_by: str) -> None:
    columns = [
        sql.SQL("{} {} NOT NULL").format(sql.Identifier(name), sql.SQL(kind))
        for name, kind in OWN_COLUMNS.items()
    ]
    columns += [
        sql.SQL("{} {}").format(sql.Identifier(column.name), sql.SQL(SQL_TYPES[column.type]))
        for column in table.columns
    ]
    name = sql.Identifier(PUBLIC, table.name)
    connection.execute(
        sql.SQL("CREATE TABLE {} ({}, PRIMARY KEY ({}))").format(
            name,
            sql.SQL(", ").join(columns),
            sql.SQL(", ").join(map(sql.Identifier, (ACCOUNT_COLUMN, *table.key))),
        )
    )
    # Days are replaced by it. The day first: a look-up by key must not be done by it.
    connection.execute(
        sql.SQL("CREATE INDEX ON {} ({})").format(
            name,
            sql.SQL(", ").join(map(sql.Identifier, (ACCOUNT_COLUMN, DAY_COLUMN, REPORT_COLUMN))),
        )
    )
    connection.execute(_REGISTER, (table.name, made_by))
    share_with_readers(connection, table.name)
    _describe(connection, table)


def _describe(connection: Connection, table: ReportTable) -> None:
    """Put into the database where a column comes from: BI tools show it."""
    name = sql.Identifier(table.name)
    grain = f"one row for each element of {table.rows}" if table.rows else "one row a call"
    connection.execute(
        sql.SQL("COMMENT ON TABLE {} IS {}").format(
            name, sql.Literal(f"A custom report of CallKeeper's raw calls: {grain}")
        )
    )
    texts = {
        **_COMMENTS,
        **{
            column.name: f"{'The call: ' if column.is_parent else ''}{column.path}"
            for column in table.columns
        },
    }
    for column, text in texts.items():
        connection.execute(
            sql.SQL("COMMENT ON COLUMN {}.{} IS {}").format(
                name, sql.Identifier(column), sql.Literal(text)
            )
        )
