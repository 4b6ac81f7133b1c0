"""The accounts that hold personal data: those configured, those that once were, and their rules.

A source whose folder was deleted still has rows and raw calls: it is a target like any other, only
that nothing is loaded anew for it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg

from callkeeper_assets.calls.store import RawStore
from callkeeper_assets.config.source import Source
from callkeeper_assets.personal_data.shield import read_rule
from callkeeper_assets.privacy.rewriting import Seeker
from callkeeper_assets.privacy.rule import KEEP_ALL, Rule, hash_number
from callkeeper_assets.warehouse.accounts import find_account_by_name, make_account

Connection = psycopg.Connection[tuple[Any, ...]]

_ACCOUNTS: Final = "SELECT name, account_id FROM general_accounts WHERE id <> 1"


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
