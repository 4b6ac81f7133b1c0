"""What one look for a client finds, and how much that is: asked by `forget` and by `export`.

Both look in the same way, and both search again by other means, so that neither tells less.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from callkeeper_assets.personal_data.rewriting import spool_folder
from callkeeper_assets.personal_data.searching import Row, SourceHits, find_hits, search_spool
from callkeeper_assets.personal_data.targets import Connection, Target
from callkeeper_assets.personal_data.verifying import (
    Place,
    Verifier,
    name_payload,
    name_raw_call,
    name_row,
    sum_up,
)
from callkeeper_assets.privacy.tails import KnownTail, read_tail
from callkeeper_assets.raw.store import RawStore


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
class Search:
    """All that one look found.

    Attributes:
        hits: what each account holds, by name.
        rows: with the number, by table.
        spooled: payloads with it that wait on disk, by account's name.
    """

    hits: Mapping[str, SourceHits]
    rows: Mapping[str, Sequence[Row]]
    spooled: Mapping[str, int]

    def describe(self) -> Found:
        """Return how much it is."""
        return Found(
            sources=tuple(
                _describe(one, self.spooled.get(name, 0)) for name, one in self.hits.items()
            ),
            rows={table: len(rows) for table, rows in self.rows.items()},
            unfinished=sum(len(one.unfinished) for one in self.hits.values()),
        )

    def _list_known(self, store: RawStore) -> set[tuple[object, ...]]:
        """Return what it found, as the independent search names it."""
        known: set[tuple[object, ...]] = {("spool", source) for source in self.spooled}
        for hits in self.hits.values():
            known |= {("file", store.name(path)) for path in hits.unfinished}
            known |= {name_payload(one.row_id) for one in hits.payloads}
            for one in hits.raw:
                path = store.locate(hits.target.name, one.day, one.version)
                known.add(name_raw_call(store.name(path), one.call_id))
        return known | {name_row(table, row) for table, rows in self.rows.items() for row in rows}

    def verify(
        self, connection: Connection, store: RawStore, targets: Sequence[Target], number: str
    ) -> tuple[list[Place], list[Place]]:
        """Search by other means; return all places, and those that this look did not find.

        Raises:
            StoreError: The raw calls' place cannot be reached.
        """
        seekers = [one.build_seeker(number) for one in targets]
        tokens = frozenset(token for one in seekers for token in one.tokens)
        tail = KnownTail(read_tail(number), tokens)
        traces = Verifier(connection, store, targets, tail).look()
        known = self._list_known(store)
        return sum_up(traces), sum_up(one for one in traces if one.key not in known)


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


def look(
    connection: Connection,
    store: RawStore,
    targets: Sequence[Target],
    number: str,
    say: Callable[[str], None],
) -> Search:
    """Look for a number everywhere.

    Raises:
        StoreError: The raw calls' place cannot be reached.
    """
    hits, rows = find_hits(connection, store, targets, number, say)
    return Search(hits, rows, search_spool(spool_folder(), targets, number))
