"""`callkeeper forget`: one client out of everything that is stored, and a proof that it is so.

Looks first, everywhere; a dry run ends there. Then erases account by account, deletes what rows of
dimensions nobody needs any more, and looks again: what is still found is told, not passed over.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from callkeeper_assets.config.source import Source
from callkeeper_assets.database import connect
from callkeeper_assets.personal_data.erasing import Erasure
from callkeeper_assets.personal_data.leftovers import delete_leftovers
from callkeeper_assets.personal_data.requests import name_request
from callkeeper_assets.personal_data.rewriting import drain_spool, spool_folder
from callkeeper_assets.personal_data.searching import (
    Row,
    SourceHits,
    find_hits,
    search_spool,
)
from callkeeper_assets.personal_data.targets import Connection, Target, list_targets
from callkeeper_assets.privacy.seeking import Seeker
from callkeeper_assets.raw.store import RawStore
from callkeeper_assets.runs.lock import held_source_lock_alone
from callkeeper_assets.warehouse.dimensions import FACTS
from callkeeper_assets.warehouse.migrate import ensure_schema


@dataclass(frozen=True)
class SourceFound:
    """What one account held of a client.

    Attributes:
        calls: the client's own.
        mentions: others' calls that have the number in a text.
        of_manager: calls that have it as the manager's number alone; they are left.
        masked: raw calls whose masked number can be this one; they are left.
        raw_files: of raw calls, with what lies beside the days.
        payloads: of webhooks, those in the spool included.
    """

    source: str
    calls: int = 0
    mentions: int = 0
    of_manager: int = 0
    masked: int = 0
    raw_files: int = 0
    raw_calls: int = 0
    payloads: int = 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing is to be erased."""
        return not (self.calls or self.mentions or self.payloads)


@dataclass(frozen=True)
class Found:
    """What was found of a client: the same whether it is erased then or not.

    Attributes:
        rows: by table, those that hold the number.
        unfinished: files that killed loads left half written; they are removed.
    """

    sources: tuple[SourceFound, ...]
    rows: Mapping[str, int]
    unfinished: int

    @property
    def is_empty(self) -> bool:
        """Whether the number is nowhere."""
        return not self.rows and all(one.is_empty for one in self.sources)


@dataclass(frozen=True)
class Forgotten:
    """What `forget` did.

    Attributes:
        request_id: None for a dry run, and where there was nothing to do.
        problems: what is not erased, with the reason.
    """

    found: Found
    request_id: str | None = None
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Search:
    """All that one look found."""

    hits: Mapping[str, SourceHits]
    rows: Mapping[str, Sequence[Row]]
    spooled: Mapping[str, int]

    def describe(self) -> Found:
        return Found(
            sources=tuple(
                _describe(one, self.spooled.get(name, 0)) for name, one in self.hits.items()
            ),
            rows={table: len(rows) for table, rows in self.rows.items()},
            unfinished=sum(len(one.unfinished) for one in self.hits.values()),
        )


def _describe(hits: SourceHits, spooled: int) -> SourceFound:
    roles = hits.roles
    erased = [one for one in hits.raw if one.role != "manager"]
    return SourceFound(
        source=hits.target.name,
        calls=sum("client" in found for found in roles.values()),
        mentions=sum("mention" in found and "client" not in found for found in roles.values()),
        of_manager=len(hits.of_managers),
        masked=hits.masked,
        raw_files=len({(one.day, one.version) for one in erased}),
        raw_calls=len(erased),
        payloads=spooled + sum(one.role != "manager" for one in hits.payloads),
    )


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

    def forget(self, number: str, *, is_dry: bool) -> Forgotten:
        """Forget a client, or only look.

        Raises:
            MissingSecretError: A source hashes, and its key is not in the environment.
            DatabaseError: The database cannot be reached.
            WarehouseError: It refuses or went away; run again, what is left is done then.
            StoreError: The raw calls' place cannot be reached or written.
        """
        ensure_schema(self.url)
        with connect(self.url, autocommit=True) as connection, ExitStack() as locks:
            targets = list_targets(connection, self.store, self.sources)
            if is_dry:
                return Forgotten(self._search(connection, targets, number).describe())
            for target in targets:
                locks.enter_context(self._lock(target))
            # What the spool holds is looked at where it lies, and erased where it goes to.
            search = self._search(connection, targets, number)
            found = search.describe()
            is_drained = drain_spool({one.name: one.renamed for one in targets})
            if search.spooled:
                search = self._search(connection, targets, number)
            request_id = name_request("forget")
            problems = self._erase(connection, search, found, request_id)
            _remove_torn(number, targets)
            if not is_drained:
                problems.append(_explain_spool())
            if not found.is_empty:
                problems += delete_leftovers(connection, {FACTS, *search.rows})
            left = self._search(connection, targets, number)
            problems += _tell_left(left)
            return Forgotten(found, None if found.is_empty else request_id, problems)

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

    def _search(self, connection: Connection, targets: Sequence[Target], number: str) -> _Search:
        hits, rows = find_hits(connection, self.store, targets, number, self.say)
        return _Search(hits, rows, search_spool(spool_folder(), targets, number))

    def _erase(
        self, connection: Connection, search: _Search, found: Found, request_id: str
    ) -> list[str]:
        problems: list[str] = []
        by_name = {one.source: one for one in found.sources}
        for name, hits in search.hits.items():
            erasure = Erasure(self.url, connection, self.store, hits.target, request_id)
            if by_name[name].is_empty and not erasure.has_open() and not hits.unfinished:
                continue
            self.say(f"Erasing in {name}.")
            told = {**vars(by_name[name]), "rows": dict(found.rows)}
            calls = erasure.begin(hits, told)
            failed = erasure.erase(calls, hits)
            if not failed:
                erasure.finish()
            problems += failed
        return problems


def _remove_torn(number: str, targets: Sequence[Target]) -> None:
    """Remove ends of spool files that nobody answered for, if they hold the number."""
    seekers = [target.build_seeker(number) for target in targets] or [Seeker(number, [])]
    for file in _list_torn():
        text = file.read_bytes().decode("utf-8", "replace")
        if any(one.is_in(text) for one in seekers):
            file.unlink(missing_ok=True)


def _list_torn() -> list[Path]:
    return sorted(spool_folder().glob("*.torn"))


def _explain_spool() -> str:
    return (
        f"Webhooks wait in {spool_folder()} for a receiver that does not reach the database. Their "
        "numbers are taken out when they move to the inbox; run the command again then."
    )


def _tell_left(search: _Search) -> list[str]:
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
