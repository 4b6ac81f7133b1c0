"""Rows of dimensions that no fact refers to any more, and old versions of rows: both are deleted.

A visitor's row has a phone number; a landing page can have one in its query. Rows are shared by all
accounts: a row that another account's fact refers to stays.
"""

from collections.abc import Collection, Mapping
from contextlib import ExitStack
from typing import Final

from psycopg import sql

from callkeeper_assets.personal_data.searching import list_searched_tables
from callkeeper_assets.personal_data.targets import Connection
from callkeeper_assets.warehouse.dimensions import DIMENSIONS, FACTS, UNKNOWN_ID
from callkeeper_assets.warehouse.session import Session

_DELETE: Final = """
    DELETE FROM {table} AS d
    WHERE (%(ids)s::int[] IS NULL OR d.id = ANY(%(ids)s)) AND d.id <> %(unknown)s
        AND NOT EXISTS (SELECT FROM {facts} AS f WHERE f.{column} = d.id)
"""
_ACCOUNTS: Final = "SELECT account_id FROM general_accounts ORDER BY account_id"
_INBOX: Final = "callkeeper_webhooks"


def delete_unreferenced_rows(
    url: str, connection: Connection, wanted: Mapping[str, Collection[int] | None]
) -> None:
    """Delete rows of dimensions that no fact refers to.

    All accounts are locked meanwhile: a load that has just found a row must not lose it.

    Args:
        url: Of the database.
        connection: To it.
        wanted: By table, ids of rows; None for all. Tables that are no dimensions are left out.

    Raises:
        UnavailableError: The database went away.
    """
    dimensions = [one for one in DIMENSIONS if one.table in wanted]
    if not dimensions:
        return
    accounts = connection.execute(_ACCOUNTS).fetchall()
    with Session(url) as session, ExitStack() as locks:
        for (account_id,) in accounts:
            locks.enter_context(session.lock(account_id))
        for dimension in dimensions:
            statement = sql.SQL(_DELETE).format(
                table=sql.Identifier(dimension.table),
                facts=sql.Identifier(FACTS),
                column=sql.Identifier(dimension.fact_column),
            )
            ids = wanted[dimension.table]
            values = {"ids": None if ids is None else list(ids), "unknown": UNKNOWN_ID}
            connection.execute(statement, values)


def vacuum_tables(connection: Connection, touched: Collection[str]) -> None:
    """Give up old versions of rows, which no query shows and the files still hold; the inbox's too.

    Args:
        connection: In autocommit.
        touched: Tables; those that are not this program's are left out.
    """
    for table in [_INBOX, *list_searched_tables(connection)]:
        if table in touched or table == _INBOX:
            connection.execute(sql.SQL("VACUUM {}").format(sql.Identifier(table)))
