"""The receiver's connections to the inbox's database: taken for a while, given up all at once."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, Self

import psycopg

from callkeeper_assets.database import build_conninfo
from callkeeper_assets.database.settings import SET_NEWER

# A sender waits meanwhile, and local disk is near.
STATEMENT_MS: Final = 4_000
_SETTINGS: Final = {
    "synchronous_commit": "on",
    "statement_timeout": str(STATEMENT_MS),
    # A run that processes a payload holds its row for as long as it takes.
    "lock_timeout": "100",
    # A plan that was made while the inbox was empty, and is kept for the connection, must not read
    # all of it for each payload when it has grown.
    "enable_seqscan": "off",
}

Connection = psycopg.AsyncConnection[tuple[Any, ...]]


async def _open(url: str) -> Connection:
    connection = await psycopg.AsyncConnection.connect(
        build_conninfo(url, application_name="callkeeper webhooks"), autocommit=True
    )
    try:
        await connection.execute(SET_NEWER)
        for setting in _SETTINGS.items():
            await connection.execute("SELECT set_config(%s, %s, false)", setting)
    except BaseException:
        await connection.close()
        raise
    return connection


@asynccontextmanager
async def waiting_for_locks(connection: Connection) -> AsyncIterator[None]:
    """Run statements in a transaction that waits for locks as long as a statement may take."""
    async with connection.transaction():
        await connection.execute("SET LOCAL lock_timeout = 0")
        yield


class Connections:
    """As many as can be taken at once; who wants one more waits for one to come back.

    They are taken in turn, so that none is unused for long.

    Attributes:
        accounts: by name, of the database that they lead to.
    """

    def __init__(self) -> None:
        self.accounts: dict[str, int] = {}
        self._idle: deque[Connection] = deque()
        self._free = asyncio.Semaphore(0)
        self._is_given_up = False

    @classmethod
    async def open(cls, url: str, number: int) -> Self:
        """Open so many; if one cannot be opened, none stays open.

        Raises:
            psycopg.Error: The database is not there.
        """
        opened = cls()
        try:
            for _ in range(number):
                opened._give_back(await _open(url))
        except BaseException:
            await opened.give_up()
            raise
        return opened

    @asynccontextmanager
    async def take(self) -> AsyncIterator[Connection]:
        """Lend one; it is closed if all were given up before."""
        await self._free.acquire()
        connection = self._idle.popleft()
        try:
            yield connection
        finally:
            # First, so that nothing keeps those who wait for it waiting.
            self._give_back(connection)
            if self._is_given_up:
                await connection.close()

    async def give_up(self) -> None:
        """Close all: at once, or when they come back."""
        self._is_given_up = True
        for connection in tuple(self._idle):
            await connection.close()

    def _give_back(self, connection: Connection) -> None:
        self._idle.append(connection)
        self._free.release()
