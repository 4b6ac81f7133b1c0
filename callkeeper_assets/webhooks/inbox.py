"""The inbox in the database, as the receiver uses it: many payloads in one statement.

Its connections are taken for a while, and given up all at once when one is lost. What may be
written of a payload: its source's rule is applied, and forgotten persons are taken out, before it
is kept.
"""

import asyncio
import re
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import msgspec
import psycopg
from msgspec.structs import replace
from psycopg.errors import LockNotAvailable

from callkeeper_assets.postgres import (
    DatabaseError,
    build_conninfo,
    connect,
    database_url,
    describe,
)
from callkeeper_assets.postgres.url import SET_NEWER
from callkeeper_assets.privacy.numbers import erase_numbers
from callkeeper_assets.privacy.rewriting import Eraser, NotJsonError, Protector, Scope
from callkeeper_assets.privacy.rule import Rule
from callkeeper_assets.warehouse.accounts import FIND_ACCOUNTS, MAKE_ACCOUNT, note_setting
from callkeeper_assets.warehouse.migrate import ensure_schema
from callkeeper_assets.warehouse.records import WarehouseError
from callkeeper_assets.webhooks.inbox_queries import read_sql
from callkeeper_assets.webhooks.payload import (
    Delivery,
    Format,
    UnreadableError,
    read_document,
    read_event,
)
from callkeeper_assets.webhooks.receivers import LEAVE, SAY
from callkeeper_assets.webhooks.receivers import describe as describe_receiver
from callkeeper_assets.webhooks.spool import list_files

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

# Digits in a way that no pattern looks for: half of another encoding, or escaped one by one.
_OPAQUE: Final = re.compile(rb"\x00|\\u003[0-9]|%3[0-9]")
_DIGIT: Final = re.compile(rb"[0-9]")

_encode = msgspec.json.Encoder().encode

# So many groups are stored at the same time: while one waits for its commit, another is sent.
STORES_AT_ONCE: Final = 2
_IMPATIENT: Final = f"connect_timeout=3&tcp_user_timeout={STATEMENT_MS}"
# For a server that does not even say that it gave up.
_LONGEST_SEC: Final = 8.0

_NEWLY_FORGOTTEN: Final = """
    SELECT a.name, f.call_id, f.scope, f.forgotten_at
    FROM callkeeper_forgotten_calls AS f
    JOIN general_accounts AS a USING (account_id)
    WHERE f.forgotten_at >= %(since)s
"""
# A transaction that noted calls may be seen later than one that began after it.
_OVERLAP: Final = timedelta(minutes=5)

_Result = TypeVar("_Result")


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

    They are taken one after another, so that none is unused for long.

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


def protect_delivery(
    delivery: Delivery, protector: Protector, fields: Mapping[str, str]
) -> Delivery:
    """Return a payload as it may be written.

    Args:
        delivery: As received.
        protector: Applies the source's rule; it must know `fields`.
        fields: By path in a raw call, the name under which this account sends the value.
    """
    if not protector.rule.is_active:
        return delivery
    after = None
    if delivery.reason is None:
        after = _protect_document(delivery.format, delivery.body, protector)
    if after is None:
        return replace(delivery, body=protect_unreadable(delivery.body, protector))
    event = read_event(read_document("json", after), fields)
    return replace(delivery, format="json", body=after, event=event)


def protect_body(form: Format, body: bytes, protector: Protector) -> tuple[Format, bytes]:
    """As `protect_delivery`, of a body that is stored already."""
    if not protector.rule.is_active:
        return form, body
    after = _protect_document(form, body, protector)
    return (form, protect_unreadable(body, protector)) if after is None else ("json", after)


def _protect_document(form: Format, body: bytes, protector: Protector) -> bytes | None:
    try:
        return protector.protect(_encode(read_document(form, body)))
    except (UnreadableError, NotJsonError):
        return None


def read_as_json(form: Format, body: bytes) -> bytes | None:
    """Return a body's document as JSON, whatever it came as; None if it is no document."""
    try:
        return _encode(read_document(form, body))
    except UnreadableError:
        return None


def protect_unreadable(body: bytes, protector: Protector) -> bytes:
    """Return a body that is no call without anything that looks like a number or an address."""
    if _OPAQUE.search(body):
        return _DIGIT.sub(b"*", body)
    text = body.decode("utf-8", "surrogateescape")
    return protector.protect_unreadable(text).encode("utf-8", "surrogateescape")


def erase_body(form: Format, body: bytes, eraser: Eraser, scope: Scope) -> tuple[Format, bytes]:
    """Return the format and the body of what is left of a forgotten call's payload."""
    try:
        after = eraser.erase(_encode(read_document(form, body)), scope)
    except (UnreadableError, NotJsonError):
        return form, erase_unreadable(body)
    return "json", after


def erase_unreadable(body: bytes) -> bytes:
    """Return a body that is no call without anything that could be a phone number."""
    if _OPAQUE.search(body):
        return _DIGIT.sub(b"*", body)
    text = body.decode("utf-8", "surrogateescape")
    return erase_numbers(text).encode("utf-8", "surrogateescape")


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


class _ForgottenCalls:
    """The forgotten calls of all sources: their webhooks are stored without the person.

    Asked for when the database is reached, then every few seconds. What comes in between is stored
    as it came, and processing takes the person out of it.

    Args:
        renamed: By source, the names under which its account sends fields.
    """

    def __init__(self, renamed: Mapping[str, Mapping[str, str]]) -> None:
        self._erasers = {name: Eraser(fields) for name, fields in renamed.items()}
        self._scopes: dict[tuple[str, int], Scope] = {}
        self._since = datetime.min.replace(tzinfo=UTC)

    async def look(self, connection: Connection) -> None:
        """Learn which calls were forgotten since the last look."""
        found = await connection.execute(_NEWLY_FORGOTTEN, {"since": self._since})
        newest = self._since
        for name, call_id, scope, forgotten_at in await found.fetchall():
            self._scopes[name, call_id] = scope
            newest = max(newest, forgotten_at - _OVERLAP)
        self._since = newest

    def erase(self, deliveries: Sequence[Delivery]) -> Sequence[Delivery]:
        """Return deliveries as they may be stored."""
        return [self._erase(one) for one in deliveries] if self._scopes else deliveries

    def _erase(self, delivery: Delivery) -> Delivery:
        if delivery.call_id is None:
            return delivery
        scope = self._scopes.get((delivery.source, delivery.call_id))
        if scope is None:
            return delivery
        eraser = self._erasers.get(delivery.source) or Eraser()
        form, body = erase_body(delivery.format, delivery.body, eraser, scope)
        return replace(delivery, format=form, body=body)


class Inbox:
    """The database's side of the intake.

    Args:
        renamed: By source, the names under which its account sends fields.
        rules: By source, the privacy settings under which its payloads are stored.
        spool: Of the receiver, whose state others are told; None for who is none.
    """

    def __init__(
        self,
        renamed: Mapping[str, Mapping[str, str]] | None = None,
        rules: Mapping[str, Rule] | None = None,
        spool: Path | None = None,
    ) -> None:
        self._rules = rules or {}
        self._spool = spool
        self._connections: Connections | None = None
        self._forgotten = _ForgottenCalls(renamed or {})

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

    async def leave(self) -> None:
        """Say that this receiver ends, unless something waits in its spool."""
        if self._spool is None or list_files(self._spool):
            return
        with suppress(InboxAwayError, OSError):
            values = describe_receiver(self._spool)
            await self._use(lambda connection, _: connection.execute(LEAVE, values))

    async def ping(self) -> None:
        """Find out whether the database is still there, and who was forgotten meanwhile.

        And say that this receiver is there, and what its spool has.

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
            if self._spool is not None:
                # A home that cannot be written is no reason to take the database for away.
                with suppress(OSError):
                    values = describe_receiver(self._spool)
                    # Every two seconds: nobody waits for the disk for it.
                    await connection.execute("SET LOCAL synchronous_commit = off")
                    await connection.execute(SAY, values)

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
