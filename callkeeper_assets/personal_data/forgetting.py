"""`callkeeper forget`: one client out of everything that is stored, and a proof that it is so.

Looks first, everywhere; a dry run ends there. Then erases account by account, deletes what rows of
dimensions nobody needs any more, and looks again, in two ways: what is still found is told.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from callkeeper_assets.config.errors import ConfigError
from callkeeper_assets.config.source import Source
from callkeeper_assets.database import connect
from callkeeper_assets.personal_data.erasing import Erasure, Request
from callkeeper_assets.personal_data.erasures import (
    hash_number_of,
    note_verified,
    read_hash,
    read_key,
)
from callkeeper_assets.personal_data.leftovers import delete_leftovers
from callkeeper_assets.personal_data.looking import Found, Search, look
from callkeeper_assets.personal_data.requests import check_reference, name_request
from callkeeper_assets.personal_data.rewriting import drain_spool, spool_folder
from callkeeper_assets.personal_data.searching import read_body
from callkeeper_assets.personal_data.targets import Connection, Target, list_targets
from callkeeper_assets.personal_data.verifying import Place, Verifier, sum_up
from callkeeper_assets.privacy.seeking import Seeker
from callkeeper_assets.privacy.tails import HashedTail
from callkeeper_assets.raw.store import RawStore
from callkeeper_assets.runs.lock import held_source_lock_alone
from callkeeper_assets.warehouse.dimensions import FACTS
from callkeeper_assets.warehouse.migrate import ensure_schema


@dataclass(frozen=True)
class Forgotten:
    """What `forget` did.

    Attributes:
        request_id: None for a dry run, and where no source was ever loaded.
        problems: what is not erased, with the reason.
        similar: where else the same last nine digits are, for a person to judge.
    """

    found: Found
    request_id: str | None = None
    problems: list[str] = field(default_factory=list)
    similar: list[Place] = field(default_factory=list)


@dataclass(frozen=True)
class Forgetter:
    """Forgets clients.

    Args:
        url: Of the database.
        store: Where raw calls lie.
        sources: Those configured.
        say: Told of what takes long.
    """

    url: str
    store: RawStore
    sources: Sequence[Source]
    say: Callable[[str], None]

    def forget(
        self, number: str, *, is_dry: bool, request_id: str = "", reference: str = ""
    ) -> Forgotten:
        """Forget a client, or only look.

        Args:
            number: As `normalise` returns it.
            is_dry: Only look.
            request_id: Under which it is noted; a new one if it is empty.
            reference: On whose word.

        Raises:
            ConfigError: The reference cannot be kept, the request is another client's, or the
                home's key cannot be read.
            MissingSecretError: A source hashes, and its key is not in the environment.
            DatabaseError: The database cannot be reached.
            WarehouseError: It refuses or went away; run again, what is left is done then.
            StoreError: The raw calls' place cannot be reached or written.
        """
        said = check_reference(reference, number)
        ensure_schema(self.url)
        with connect(self.url, autocommit=True) as connection, ExitStack() as locks:
            targets = list_targets(connection, self.store, self.sources)
            if is_dry:
                search = self._search(connection, targets, number)
                similar = search.verify(connection, self.store, targets, number)[1]
                return Forgotten(search.describe(), similar=similar)
            request = Request(
                request_id or name_request("forget"), said or None, hash_number_of(number)
            )
            _check_unused(connection, request)
            for target in targets:
                locks.enter_context(self._lock(target))
            return self._forget(connection, targets, number, request)

    def _forget(
        self, connection: Connection, targets: Sequence[Target], number: str, request: Request
    ) -> Forgotten:
        # What the spool holds is looked at where it lies, and erased where it goes to.
        search = self._search(connection, targets, number)
        found = search.describe()
        is_drained = drain_spool({one.name: one.renamed for one in targets})
        if search.spooled:
            search = self._search(connection, targets, number)
        problems = self._erase(connection, search, found, request)
        _remove_torn(number, targets)
        if not is_drained:
            problems.append(_explain_spool())
        if not found.is_empty:
            problems += delete_leftovers(connection, {FACTS, *search.rows})
        left = self._search(connection, targets, number)
        problems += _tell_left(left)
        self.say("Searching again, for the last nine digits in any form.")
        places, similar = left.verify(connection, self.store, targets, number)
        is_noted = note_verified(connection, request.request_id, places)
        return Forgotten(found, request.request_id if is_noted else None, problems, similar)

    def _lock(self, target: Target) -> "ExitStack":
        stack = ExitStack()
        stack.enter_context(
            held_source_lock_alone(
                self.url,
                target.name,
                lambda: self.say(f"Waiting for runs of {target.name} that are under way."),
            )
        )
        return stack

    def _search(self, connection: Connection, targets: Sequence[Target], number: str) -> Search:
        return look(connection, self.store, targets, number, self.say)

    def _erase(
        self, connection: Connection, search: Search, found: Found, request: Request
    ) -> list[str]:
        problems: list[str] = []
        by_name = {one.source: one for one in found.sources}
        for name, hits in search.hits.items():
            erasure = Erasure(self.url, connection, self.store, hits.target, request)
            told = {**vars(by_name[name]), "rows": dict(found.rows)}
            if by_name[name].is_empty and not erasure.has_open() and not hits.unfinished:
                # That nothing was found is noted as well: somebody asked.
                if hits.target.account_id is not None:
                    erasure.begin(hits, told)
                    erasure.finish()
                continue
            self.say(f"Erasing in {name}.")
            calls = erasure.begin(hits, told)
            failed = erasure.erase(calls, hits)
            if not failed:
                erasure.finish()
            problems += failed
        return problems


def verify_request(
    url: str, store: RawStore, sources: Sequence[Source], request_id: str
) -> list[Place]:
    """Search again for the client of a request, by the hash of the number alone, and note it.

    Raises:
        ConfigError: There is no such request.
        DatabaseError: The database cannot be reached.
        StoreError: The raw calls' place cannot be reached.
    """
    ensure_schema(url)
    with connect(url, autocommit=True) as connection:
        hashed = read_hash(connection, request_id)
        if hashed is None:
            raise ConfigError(
                f"There is no request {request_id}, and no number was handed over for one. In the "
                "launchpad name a request of `callkeeper erasures`, to verify it again. To forget "
                "a client type: callkeeper forget; or put the number into the file "
                f"requests/{request_id} of the home first, readable by its owner alone."
            )
        targets = list_targets(connection, store, sources)
        tail = HashedTail(hashed, read_key())
        places = sum_up(Verifier(connection, store, targets, tail).look())
        note_verified(connection, request_id, places)
    return places


def _check_unused(connection: Connection, request: Request) -> None:
    noted = read_hash(connection, request.request_id)
    if noted not in (None, request.number_hash):
        raise ConfigError(
            f"The request {request.request_id} is of another client: choose another name."
        )


def _remove_torn(number: str, targets: Sequence[Target]) -> None:
    """Remove ends of spool files that nobody answered for, if they hold the number."""
    seekers = [target.build_seeker(number) for target in targets] or [Seeker(number, [])]
    for file in _list_torn():
        text = read_body(file.read_bytes())
        if any(one.is_in(text) for one in seekers):
            file.unlink(missing_ok=True)


def _list_torn() -> list[Path]:
    return sorted(spool_folder().glob("*.torn"))


def _explain_spool() -> str:
    return (
        f"Webhooks wait in {spool_folder()} for a receiver that does not reach the database. Their "
        "numbers are taken out when they move to the inbox; run the command again then."
    )


def _tell_left(search: Search) -> list[str]:
    """Say where the number still stands, but as a manager's."""
    problems = []
    for name, hits in search.hits.items():
        left = [one.role for one in hits.raw] + [one.role for one in hits.payloads]
        left = [role for role in left if role != "manager"]
        if left:
            problems.append(f"{name}: {len(left)} raw calls or payloads still hold the number.")
        problems += [f"{name}: {text}" for text in hits.unreadable]
    problems += [
        f"{table}: {len(rows)} rows still hold the number." for table, rows in search.rows.items()
    ]
    return problems
