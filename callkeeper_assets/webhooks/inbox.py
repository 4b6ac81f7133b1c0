"""The inbox in the database, as the receiver uses it: one connection that stores many at once.

Any failure closes the connection and is an `InboxAwayError`: whether the last transaction was
committed is then unknown, and does not matter, since storing a delivery again changes nothing.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

import psycopg

from callkeeper_assets.database import DatabaseError, connect, database_url, describe
from callkeeper_assets.personal_data.settings import note_setting
from callkeeper_assets.privacy.rule import Rule
from callkeeper_assets.warehouse.errors import WarehouseError
from callkeeper_assets.warehouse.migrate import ensure_schema
from callkeeper_assets.webhooks.delivery import Delivery
from callkeeper_assets.webhooks.forgotten import ForgottenCalls
from callkeeper_assets.webhooks.inbox_queries import read_sql

# A sender waits meanwhile, and local disk is near.
_STATEMENT_MS: Final = 4_000
_IMPATIENT: Final = f"connect_timeout=3&tcp_user_timeout={_STATEMENT_MS}"
# For a server that does not even say that it gave up.
_LONGEST_SEC: Final = 8.0
_FIND: Final = "SELECT name, account_id FROM general_accounts WHERE name = ANY(%(names)s)"
# A plan that was made while the inbox was empty, and is kept for the connection, must not read all
# of it for each payload when it has grown.
_SETTINGS: Final = {
    "synchronous_commit": "on",
    "statement_timeout": str(_STATEMENT_MS),
    "enable_seqscan": "off",
}

_Connection = psycopg.AsyncConnection[tuple[Any, ...]]
_Result = TypeVar("_Result")


class InboxAwayError(Exception):
    """The database did not take the deliveries; the text says why, for the log."""


def _prepare_database(rules: Mapping[str, Rule]) -> str:
    """Return the URL of a database that is there, has the tables and knows of the rules."""
    url = database_url()
    url += f"{'&' if '?' in url else '?'}{_IMPATIENT}"
    ensure_schema(url)
    if rules:
        with connect(url, autocommit=True) as connection:
            for name, rule in rules.items():
                note_setting(connection, name, rule)
    return url


class Inbox:
    """The database's side of the intake.

    Args:
        renamed: By source, the names under which its account sends fields.
        rules: By source, the privacy settings under which its payloads are stored.
    """

    def __init__(
        self,
        renamed: Mapping[str, Mapping[str, str]] | None = None,
        rules: Mapping[str, Rule] | None = None,
    ) -> None:
        self._rules = rules or {}
        self._connection: _Connection | None = None
        self._accounts: dict[str, int] = {}
        self._forgotten = ForgottenCalls(renamed or {})

    @property
    def is_connected(self) -> bool:
        """Whether the last that was heard of the database was good."""
        return self._connection is not None

    async def connect(self) -> str:
        """Reach the database, and bring its tables up to date; return its name for people.

        Raises:
            InboxAwayError: It is not there, or not usable.
        """
        await self.close()
        try:
            url = await asyncio.to_thread(_prepare_database, self._rules)
            connection = await psycopg.AsyncConnection.connect(
                url, autocommit=True, application_name="callkeeper webhooks"
            )
            for setting in _SETTINGS.items():
                await connection.execute("SELECT set_config(%s, %s, false)", setting)
            await self._forgotten.look(connection)
        except (DatabaseError, WarehouseError, psycopg.Error, OSError) as error:
            raise InboxAwayError(str(error)) from error
        self._accounts = {}
        self._connection = connection
        return describe(url)

    async def close(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            await self._drop(self._connection)

    async def ping(self) -> None:
        """Find out whether the database is still there, and who was forgotten meanwhile.

        Raises:
            InboxAwayError: It is not.
        """
        await self._guard(self._ping)

    async def store(self, deliveries: Sequence[Delivery]) -> int:
        """Store deliveries durably; return how many were repeats of what had come before.

        Raises:
            InboxAwayError: They may be stored or not.
        """
        return await self._guard(lambda connection: self._store(connection, deliveries))

    async def _guard(self, work: Callable[[_Connection], Awaitable[_Result]]) -> _Result:
        """Do something with the connection; drop it if that fails, or takes too long."""
        connection = self._connection
        if connection is None:
            raise InboxAwayError("there is no connection")
        try:
            async with asyncio.timeout(_LONGEST_SEC):
                return await work(connection)
        except (psycopg.Error, OSError, TimeoutError) as error:
            await self._drop(connection)
            text = str(error).partition("\n")[0] or f"no answer within {_LONGEST_SEC:g} s"
            raise InboxAwayError(text) from error

    async def _drop(self, connection: _Connection) -> None:
        # Somebody else may have dropped it before, and connected anew.
        if self._connection is connection:
            self._connection = None
        await connection.close()

    async def _ping(self, connection: _Connection) -> None:
        await self._forgotten.look(connection)

    async def _store(self, connection: _Connection, deliveries: Sequence[Delivery]) -> int:
        deliveries = self._forgotten.erase(deliveries)
        await self._find_accounts(connection, {each.source for each in deliveries})
        values = {
            "accounts": [self._accounts[each.source] for each in deliveries],
            "times": [each.received_at for each in deliveries],
            "digests": [each.digest for each in deliveries],
            "receipts": [uuid.UUID(bytes=each.receipt) for each in deliveries],
        }
        more = {
            "events": [each.event for each in deliveries],
            "calls": [each.call_id for each in deliveries],
            "formats": [each.format for each in deliveries],
            "bodies": [each.body for each in deliveries],
            "reasons": [each.reason for each in deliveries],
        }
        stored = await connection.execute(read_sql("store"), {**values, **more}, prepare=True)
        if stored.rowcount == len(deliveries):
            return 0
        # In a transaction of its own: nobody has been answered yet, so nothing is lost between.
        repeated = await connection.execute(read_sql("repeats"), values, prepare=True)
        return repeated.rowcount

    async def _find_accounts(self, connection: _Connection, names: set[str]) -> None:
        missing = sorted(names - self._accounts.keys())
        if not missing:
            return
        for name in missing:
            await connection.execute(read_sql("account"), {"name": name})
        found = await connection.execute(_FIND, {"names": missing})
        self._accounts.update(dict(await found.fetchall()))
