"""Has PostgreSQL take back the room of deleted rows, beside whoever reads and writes."""

from collections.abc import Iterable
from typing import Any

import psycopg
from psycopg import sql


def vacuum_tables(connection: psycopg.Connection[Any], tables: Iterable[str]) -> None:
    """Vacuum tables, and gather their statistics anew.

    New rows get the room; what lies at a table's end goes back to the disk. A table that the role
    may not vacuum is left out, by PostgreSQL itself.

    Args:
        connection: in autocommit mode.
        tables: their names.
    """
    for table in tables:
        connection.execute(sql.SQL("VACUUM (ANALYZE) {}").format(sql.Identifier(table)))
