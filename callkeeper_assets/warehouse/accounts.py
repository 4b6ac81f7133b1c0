"""The source's row in general_accounts by its name: how it is found, and made if it is missing.

For callers with a connection of psycopg, and the statements for those with another. Imports nothing
heavy: the receiver of webhooks makes accounts. What a load writes into the row, `account_row` does.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import psycopg

FIND_ACCOUNTS: Final = "SELECT name, account_id FROM general_accounts WHERE name = ANY(%(names)s)"
FIND_ACCOUNT: Final = "SELECT account_id FROM general_accounts WHERE name = %(name)s"
# As a first load makes it. No number is taken where the account is there.
MAKE_ACCOUNT: Final = """
    WITH next AS (
        SELECT nextval(pg_get_serial_sequence('general_accounts', 'id')) AS id
        WHERE NOT EXISTS (SELECT FROM general_accounts WHERE name = %(name)s)
    )
    INSERT INTO general_accounts (id, account_id, caption, service, enabled, status, name)
    SELECT id, id, %(caption)s, 'CallKeeper', true, 'new', %(name)s FROM next
    ON CONFLICT (name) DO NOTHING
    RETURNING account_id
"""


def number_parameters(statement: str, names: Iterable[str]) -> str:
    """Return a statement with `$1`, `$2` … in place of parameters by name, for ADBC."""
    for number, name in enumerate(names, 1):
        statement = statement.replace(f"%({name})s", f"${number}")
    return statement


def find_account_by_name(
    connection: "psycopg.Connection[tuple[Any, ...]]", name: str
) -> int | None:
    """Return the source's number; None if the warehouse does not know it."""
    row = connection.execute(FIND_ACCOUNT, {"name": name}).fetchone()
    return int(row[0]) if row else None


def make_account(connection: "psycopg.Connection[tuple[Any, ...]]", name: str) -> None:
    """Make the source's row unless it is there; a load puts the caption into it."""
    connection.execute(MAKE_ACCOUNT, {"name": name, "caption": name})
