"""What stands between a source's answers and all that is written: its rule, and who was forgotten.

Built once a run: one question to the database. Where everything is kept and nobody was forgotten,
calls pass through untouched. Also the accounts that hold personal data: a source whose folder was
deleted still has rows and raw calls, and is a target like any other.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from hashlib import blake2b
from typing import Any, Final

import psycopg

from callkeeper_assets.callkeeper.keys import UnusableRecord
from callkeeper_assets.callkeeper.records import RetryLaterError
from callkeeper_assets.config.source import Source
from callkeeper_assets.privacy.process import ProcessEndedError, ProtectorPool
from callkeeper_assets.privacy.redaction import register_secret
from callkeeper_assets.privacy.rewriting import (
    NOTHING,
    Eraser,
    NotJsonError,
    Protector,
    Scope,
    Seeker,
)
from callkeeper_assets.privacy.rule import KEEP_ALL, Rule, hash_number
from callkeeper_assets.raw.ids import HASHED_IDS, identify_call_of_first_reading
from callkeeper_assets.raw.store import RawStore, UnusableRow
from callkeeper_assets.warehouse.accounts import (
    find_account_by_name,
    make_account,
    read_forgotten_calls,
)

_DIGITS: Final = re.compile(rb"\d")
# From so many days on, processes of its own for the rule are worth their start. Two keep up with
# what a load does beside them.
_DAYS_FOR_PROCESSES: Final = 4
_PROCESSES: Final = 2

ProtectAll = Callable[[Sequence[bytes]], list[bytes | None]]

Connection = psycopg.Connection[tuple[Any, ...]]

_ACCOUNTS: Final = "SELECT name, account_id FROM general_accounts WHERE id <> 1"


@dataclass(frozen=True)
class Shield:
    """What becomes of one source's calls.

    Attributes:
        protector: applies the source's rule.
        eraser: takes forgotten persons out.
        forgotten: by call id, what is left of the call.
    """

    protector: Protector
    eraser: Eraser
    forgotten: Mapping[int, Scope]

    @contextmanager
    def passing(self, days: int) -> Iterator["ShieldPassage"]:
        """Give what turns fetched days' records into what may be written of them.

        Args:
            days: How many are going to pass.
        """
        if not self.protector.rule.is_active or days < _DAYS_FOR_PROCESSES:
            yield ShieldPassage(self, self.protector.protect_all)
            return
        with ProtectorPool(self.protector.rule, _PROCESSES) as pool:
            yield ShieldPassage(self, pool.protect_all)

    def pass_calls(
        self, call_ids: Sequence[int], payloads: Sequence[bytes], protect_all: ProtectAll
    ) -> list[bytes]:
        """Return the calls' JSON as it may be written; parallel to `call_ids`."""
        if self.forgotten:
            payloads = [self._erase(*call) for call in zip(call_ids, payloads, strict=True)]
        return [NOTHING if one is None else one for one in protect_all(payloads)]

    def _erase(self, call_id: int, payload: bytes) -> bytes:
        """Return a call's JSON without the person, if he was forgotten."""
        scope = self.forgotten.get(call_id)
        if scope is None and call_id >= HASHED_IDS:
            # It may have been forgotten when it still had its former id.
            former = identify_call_of_first_reading(payload)
            scope = None if former is None else self.forgotten.get(former)
        try:
            return payload if scope is None else self.eraser.erase(payload, scope)
        except NotJsonError:
            return NOTHING

    def pass_unusable(self, records: Iterable[UnusableRecord]) -> list[UnusableRow]:
        """Return what is no call as it may be written."""
        return [self._pass_record(one) for one in records]

    def _pass_record(self, record: UnusableRecord) -> UnusableRow:
        key = name_record(record, self.eraser)
        payload, scope = record.payload, self.forgotten.get(key)
        try:
            if scope is not None:
                payload = self.eraser.erase(payload, scope)
        except NotJsonError:
            payload = NOTHING
        return UnusableRow(key, self.protector.protect_record(payload), record.reason)


@dataclass(frozen=True)
class ShieldPassage:
    """The shield as fetched days pass it (see `callkeeper.client.Passage`).

    Attributes:
        protect_all: applies the rule, here or in processes of its own.
    """

    shield: Shield
    protect_all: ProtectAll

    def pass_calls(
        self, day: date, call_ids: Sequence[int], payloads: Sequence[bytes]
    ) -> list[bytes]:
        """Return the calls' JSON as it may be written; parallel to `call_ids`.

        Raises:
            RetryLaterError: A process that applies the rule has ended.
        """
        try:
            return self.shield.pass_calls(call_ids, payloads, self.protect_all)
        except ProcessEndedError as error:
            raise RetryLaterError(
                f"{day} is not stored: {error} Free memory, or set parallel_days lower, and run "
                "it again."
            ) from None

    def pass_unusable(self, records: Iterable[UnusableRecord]) -> list[UnusableRow]:
        """Return what is no call as it may be written."""
        return self.shield.pass_unusable(records)


def name_record(record: UnusableRecord, eraser: Eraser) -> int:
    """Return a record's key: the call's id, or a negative number, the same when it comes again.

    By it a forgotten client's record is known. It is made of what is left when the person is taken
    out: of the whole text it would give the number away to a search through all numbers.
    """
    if record.call_id is not None:
        return record.call_id
    try:
        rest = eraser.erase(record.payload, "client") if record.payload[:1] == b"{" else b""
    except NotJsonError:
        rest = b""
    rest = rest or _DIGITS.sub(b"", record.payload)
    return -1 - int.from_bytes(blake2b(rest, digest_size=8).digest()) % 2**63


def read_rule(source: Source) -> Rule:
    """Return a source's rule, its key registered for redaction.

    Raises:
        MissingSecretError: The key is not in the environment.
    """
    rule = source.read_privacy_rule()
    if rule.key:
        register_secret(rule.key.decode())
    return rule


def build_shield(connection: Connection, source: Source) -> Shield:
    """Build the shield of a source for a run.

    Raises:
        MissingSecretError: The rule's key is not in the environment: nothing may be written.
    """
    forgotten = read_forgotten_calls(connection, source.name)
    return Shield(Protector(read_rule(source)), Eraser(), forgotten)


@dataclass(frozen=True)
class Target:
    """One account.

    Attributes:
        account_id: None if nothing of it was ever in the tables.
        source: None if it is configured no more.
        rule: the source's.
    """

    name: str
    account_id: int | None
    source: Source | None
    rule: Rule

    @property
    def renamed(self) -> Mapping[str, str]:
        """The names under which its webhooks have fields."""
        return self.source.webhook_names if self.source else {}

    def build_seeker(self, number: str, *, of_webhooks: bool = False) -> Seeker:
        """Return what looks for a number in its raw calls, or in its webhooks."""
        tokens = [hash_number(number, self.rule.key)] if self.rule.key else []
        return Seeker(number, tokens, self.renamed if of_webhooks else {})


def list_targets(
    connection: Connection, store: RawStore, sources: Sequence[Source]
) -> list[Target]:
    """Return all accounts by name.

    Raises:
        MissingSecretError: A source hashes, and its key is not in the environment: its calls could
            not be found.
        StoreError: The raw calls' place cannot be listed.
    """
    accounts: dict[str, int] = dict(connection.execute(_ACCOUNTS).fetchall())
    configured = {source.name: source for source in sources}
    names = sorted({*accounts, *configured, *store.list_sources()})
    return [
        Target(
            name=name,
            account_id=accounts.get(name),
            source=configured.get(name),
            rule=read_rule(configured[name]) if name in configured else KEEP_ALL,
        )
        for name in names
    ]


def make_account_of(connection: Connection, target: Target) -> int:
    """Return a target's account, made if it has none yet."""
    if target.account_id is not None:
        return target.account_id
    make_account(connection, target.name)
    account_id = find_account_by_name(connection, target.name)
    assert account_id is not None  # noqa: S101 -- made above
    return account_id
