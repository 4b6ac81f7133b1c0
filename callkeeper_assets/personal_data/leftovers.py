"""What is left in the database when calls have lost the person: unneeded rows, old versions.

A visitor's row has a phone number; a landing page can have one in its query. Rows are shared by all
accounts: a row that another account's fact refers to stays.
"""

from collections.abc import Collection
from typing import Final

from callkeeper_assets.personal_data.searching import list_searched_tables
from callkeeper_assets.personal_data.targets import Connection
from callkeeper_assets.warehouse.orphan_rows import delete_orphans
from callkeeper_assets.warehouse.vacuum import vacuum_tables

_INBOX: Final = "callkeeper_webhooks"


def delete_leftovers(connection: Connection, touched: Collection[str]) -> list[str]:
    """Delete rows of dimensions without a fact, and give up old versions of rows.

    Args:
        connection: in autocommit.
        touched: tables whose rows changed, beside dimensions and the inbox.

    Returns:
        What could not be deleted now, with the reason.
    """
    left = sorted({table for table, gone in delete_orphans(connection) if gone is None})
    vacuum_tables(
        connection,
        [_INBOX, *(one for one in list_searched_tables(connection) if one in touched)],
    )
    return [
        f"{table}: loads were under way all the time, rows that nothing refers to are still there."
        for table in left
    ]
