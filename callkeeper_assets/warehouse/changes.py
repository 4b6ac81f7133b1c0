"""Changes of tables that people read: none of their readers waits for one for more than a second.

A change waits for the transactions that have its table open, and whoever comes after it waits
behind it: one forgotten transaction of a BI tool would stop all the others. So a change gives up
its place after a moment, and is tried again.
"""

import time
from collections.abc import Callable, Collection
from typing import Final

import psycopg

from callkeeper_assets.database import connect
from callkeeper_assets.warehouse.errors import UnavailableError

# In the transaction of a change, after locks that are no tables': so long it waits for one.
PATIENCE: Final = "SET LOCAL lock_timeout = '1s'"
_PAUSE_SEC: Final = 4.0
_ATTEMPTS: Final = 24

_HOLDERS: Final = """
    SELECT DISTINCT a.pid, a.usename::text, a.application_name, a.xact_start
    FROM pg_locks AS l
    JOIN pg_class AS c ON c.oid = l.relation
    JOIN pg_stat_activity AS a ON a.pid = l.pid
    WHERE l.granted AND l.database = (SELECT oid FROM pg_database WHERE datname = a.datname)
        AND a.datname = current_database() AND c.relname = ANY(%s) AND a.pid <> pg_backend_pid()
    ORDER BY a.xact_start
    LIMIT 3
"""


def change_patiently(url: str, tables: Collection[str], change: Callable[[], None]) -> None:
    """Change tables, in one transaction that sets `PATIENCE`, as often as it takes.

    Args:
        url: of the database.
        tables: that are changed, for the error.
        change: does it, or undoes all and raises the driver's LockNotAvailable.

    Raises:
        UnavailableError: others have them open for minutes.
    """
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(_PAUSE_SEC)
        try:
            change()
        except psycopg.errors.LockNotAvailable:
            continue
        return
    name = ", ".join(sorted(tables)) if len(tables) == 1 else "the tables"
    raise UnavailableError(
        f"PostgreSQL did not change {name}: others have what is to be changed open, at "
        f"{_ATTEMPTS} tries in {_ATTEMPTS * _PAUSE_SEC:.0f} s{_name_holders(url, tables)}. "
        "Nothing is changed. End their transactions, in the program or by "
        "SELECT pg_terminate_backend(process), and try again."
    )


def _name_holders(url: str, tables: Collection[str]) -> str:
    with connect(url, autocommit=True) as connection:
        holders = connection.execute(_HOLDERS, (list(tables),)).fetchall()
    texts = [
        f"process {pid} of {user}{f' ({program})' if program else ''} since {since:%H:%M:%S %Z}"
        for pid, user, program, since in holders
    ]
    return f" ({'; '.join(texts)})" if texts else ""
