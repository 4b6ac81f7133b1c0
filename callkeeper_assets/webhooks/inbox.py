"""The inbox in the database, as the receiver uses it: many payloads in one statement.

Any failure closes the connections and is an `InboxAwayError`: whether the last transaction was
committed is then unknown, and does not matter, since storing a delivery again changes nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any, Final, TypeVar

import psycopg
from psycopg.errors import LockNotAvailable

from callkeeper_assets.database import DatabaseError, connect, database_url, describe
from callkeeper_assets.privacy.rule import Rule
from callkeeper_assets.privacy.settings import note_setting
from callkeeper_assets.warehouse.accounts import FIND_ACCOUNTS, MAKE_ACCOUNT
from callkeeper_assets.warehouse.errors import WarehouseError
from callkeeper_assets.warehouse.migrate import ensure_schema
from callkeeper_assets.webhooks.connections import (
    STATEMENT_MS,
    Connection,
    Connections,
    waiting_for_locks,
)
from callkeeper_assets.webhooks.delivery import Delivery
from callkeeper_assets.webhooks.forgotten import ForgottenCalls
from callkeeper_assets.webhooks.inbox_queries import read_sql

# So many groups are stored at the same time: while one waits for its commit, another is sent.
STORES_AT_ONCE: Final = 2
_IMPATIENT: Final = f"connect_timeout=3&tcp_user_timeout={STATEMENT_MS}"
# For a server that does not even say that it gave up.
_LONGEST_SEC: Final = 8.0

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
        self._connections: Connections | None = None
        self._forgotten = ForgottenCalls(renamed or {})

    @property
    def is_connected(self) -> bool:
        """Whether the last that was heard of the database was good."""
        return self._connections is not None

    async def connect(self) -> str:
        """Reach the database, and bring its tables up to date; return its name for people.

        Raises:
            InboxAwayError: It is not there, or not usable.
        """
        await self.close()
        try:
            url = await asyncio.to_thread(_prepare_database, self._rules)
            connections = await self._open(url)
        except (DatabaseError, WarehouseError, psycopg.Error, OSError) as error:
            raise InboxAwayError(str(error)) from error
        self._connections = connections
        return describe(url)

    async def close(self) -> None:
        """Close the connections, if there are any; one that is in use, after its use."""
        connections, self._connections = self._connections, None
        if connections is not None:
            await connections.give_up()

    async def ping(self) -> None:
        """Find out whether the database is still there, and who was forgotten meanwhile.

        Raises:
            InboxAwayError: It is not.
        """
        await self._use(lambda connection, _: self._look(connection))

    async def store(self, deliveries: Sequence[Delivery]) -> int:
        """Store deliveries durably; return how many were repeats of what had come before.

        Raises:
            InboxAwayError: They may be stored or not.
        """
        return await self._use(
            lambda connection, accounts: self._store(connection, accounts, deliveries)
        )

    async def _open(self, url: str) -> Connections:
        connections = await Connections.open(url, STORES_AT_ONCE)
        try:
            async with connections.take() as connection:
                await self._look(connection)
        except BaseException:
            await connections.give_up()
            raise
        return connections

    async def _use(
        self, work: Callable[[Connection, dict[str, int]], Awaitable[_Result]]
    ) -> _Result:
        """Do something with a connection; close all if that fails, or takes too long."""
        connections = self._connections
        if connections is None:
            raise InboxAwayError("there is no connection")
        try:
            async with connections.take() as connection, asyncio.timeout(_LONGEST_SEC):
                return await work(connection, connections.accounts)
        except (psycopg.Error, OSError, TimeoutError) as error:
            # Somebody else may have connected anew.
            if self._connections is connections:
                await self.close()
            text = str(error).partition("\n")[0] or f"no answer within {_LONGEST_SEC:g} s"
            raise InboxAwayError(text) from error

    async def _look(self, connection: Connection) -> None:
        async with waiting_for_locks(connection):
            await self._forgotten.look(connection)

    async def _store(
        self, connection: Connection, accounts: dict[str, int], deliveries: Sequence[Delivery]
    ) -> int:
        deliveries = self._forgotten.erase(deliveries)
        await _find_accounts(connection, accounts, {each.source for each in deliveries})
        values = _list_values(deliveries, accounts)
        try:
            stored = await connection.execute(read_sql("store"), values, prepare=True)
        except LockNotAvailable:
            # As a rule: a repeat of what a run is processing. It need not be stored.
            async with waiting_for_locks(connection):
                found = await connection.execute(read_sql("unknown"), values)
                unknown = [deliveries[number - 1] for (number,) in await found.fetchall()]
                stored = await connection.execute(
                    read_sql("store"), _list_values(unknown, accounts)
                )
        if stored.rowcount == len(deliveries):
            return 0
        # In a transaction of its own: nobody has been answered yet, so nothing is lost between.
        async with waiting_for_locks(connection):
            repeated = await connection.execute(read_sql("repeats"), values, prepare=True)
        return repeated.rowcount


def _list_values(deliveries: Sequence[Delivery], accounts: Mapping[str, int]) -> dict[str, Any]:
    sizes = [len(each.body) for each in deliveries]
    return {
        "accounts": [accounts[each.source] for each in deliveries],
        "times": [each.received_at for each in deliveries],
        "digests": [each.digest for each in deliveries],
        "receipts": [each.receipt.hex() for each in deliveries],
        "events": [each.event for each in deliveries],
        "calls": [each.call_id for each in deliveries],
        "formats": [each.format for each in deliveries],
        # In one piece: from a list, each would be copied twice more.
        "bodies": b"".join([each.body for each in deliveries]),
        "starts": list(accumulate(sizes, initial=1))[:-1],
        "sizes": sizes,
        "reasons": [each.reason for each in deliveries],
    }


async def _find_accounts(connection: Connection, accounts: dict[str, int], names: set[str]) -> None:
    """Add the accounts of names that are not among them, made if need be."""
    missing = sorted(names - accounts.keys())
    if not missing:
        return
    # A first load may be making the same account.
    async with waiting_for_locks(connection):
        for name in missing:
            await connection.execute(MAKE_ACCOUNT, {"name": name, "caption": name})
        found = await connection.execute(FIND_ACCOUNTS, {"names": missing})
        accounts.update(dict(await found.fetchall()))
