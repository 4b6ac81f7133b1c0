"""Foreign keys of the star, declared but not enforced: by them BI tools find how tables join.

PostgreSQL 18 and newer have such keys. They are words of the catalogue alone: no trigger runs, no
plan changes, rows come and go in any order. That they hold is proved by `checks`.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

import psycopg
from psycopg import sql

from callkeeper_assets.warehouse.tables import TABLES

_FIRST_SERVER: Final = 180_000
_ROLES: Final = {"dimension", "fact", "placeholder"}

# Of those numbered from 1, what is neither there under that name, by whomever, nor out of reach.
_MISSING: Final = """
    SELECT w.number
    FROM unnest(%s::text[], %s::text[], %s::text[]) WITH ORDINALITY
        AS w (name, referring, referred, number)
    JOIN pg_class AS c ON c.oid = to_regclass(w.referring) AND c.relkind = 'r'
    JOIN pg_class AS r ON r.oid = to_regclass(w.referred) AND r.relkind = 'r'
    WHERE pg_has_role(c.relowner, 'USAGE') AND pg_has_role(r.relowner, 'USAGE')
        AND current_setting('transaction_read_only') = 'off'
        AND NOT EXISTS (
            SELECT FROM pg_constraint AS k WHERE k.conrelid = c.oid AND k.conname = w.name
        )
    ORDER BY 1
"""

_Connection = psycopg.Connection[Any]


class ForeignKey(NamedTuple):
    """One key, and what it refers to."""

    table: str
    columns: tuple[str, ...]
    target: str
    target_columns: tuple[str, ...]

    @property
    def name(self) -> str:
        """As PostgreSQL would name it: one that somebody has declared by hand is left alone."""
        return "_".join((self.table, *self.columns, "fkey"))


def list_keys() -> Iterator[ForeignKey]:
    """Yield the keys of the star's tables, as their columns' `references` say."""
    for table in TABLES.values():
        for column in table.columns if table.role in _ROLES else ():
            if column.references is None:
                continue
            target, _, name = column.references.partition(".")
            # Of a key of several columns, all others are the same in both tables.
            key = TABLES[target].key
            others = tuple(one for one in key if one != name) if name in key else ()
            yield ForeignKey(table.name, (*others, column.name), target, (*others, name))


def find_missing_keys(connection: _Connection) -> list[ForeignKey]:
    """Return the keys that `declare_keys` would declare here; none on an older server."""
    if connection.info.server_version < _FIRST_SERVER:
        return []
    keys = list(list_keys())
    names = [[key.name for key in keys], [key.table for key in keys], [key.target for key in keys]]
    return [keys[number - 1] for (number,) in connection.execute(_MISSING, names).fetchall()]


def declare_keys(connection: _Connection) -> None:
    """Declare the keys that are missing, unless others are writing: then the next one does.

    Args:
        connection: In autocommit mode.
    """
    missing = find_missing_keys(connection)
    if not missing:
        return
    tables = sorted({name for key in missing for name in (key.table, key.target)})
    lock = sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE NOWAIT").format(_list(tables))
    # Waiting for a load would have others wait behind, and might end it by a deadlock.
    with suppress(psycopg.errors.LockNotAvailable), connection.transaction():
        connection.execute(lock)
        for key in missing:
            connection.execute(
                sql.SQL(
                    "ALTER TABLE {} ADD CONSTRAINT {} FOREIGN KEY ({}) REFERENCES {} ({}) "
                    "NOT ENFORCED"
                ).format(
                    sql.Identifier(key.table),
                    sql.Identifier(key.name),
                    _list(key.columns),
                    sql.Identifier(key.target),
                    _list(key.target_columns),
                )
            )


def _list(names: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, names))
