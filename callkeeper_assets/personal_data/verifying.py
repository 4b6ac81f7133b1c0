"""What one look for a client finds, and the proof that erasing has left nothing.

The proof searches everything that is stored for a number's last digits, by code that shares nothing
with what erases.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
from psycopg import sql
from psycopg.rows import dict_row

from callkeeper_assets.home import home
from callkeeper_assets.personal_data.rewriting import spool_folder
from callkeeper_assets.personal_data.searching import (
    Row,
    SourceHits,
    build_rows_query,
    find_hits,
    list_searched_tables,
    search_spool,
)
from callkeeper_assets.personal_data.shield import Connection, Target
from callkeeper_assets.privacy.fields import Kind, build_kinds, find_kind_of_unknown
from callkeeper_assets.privacy.tails import (
    KnownTail,
    Leaf,
    Tail,
    holds,
    list_leaves,
    may_hold,
    read_tail,
)
from callkeeper_assets.raw.store import RawStore, UnreadableDayError, decode_day
from callkeeper_assets.reports.structure import CALL_COLUMN, DAY_COLUMN, REPORT_COLUMN
from callkeeper_assets.warehouse.schema import CALLS, WEBHOOKS
from callkeeper_assets.warehouse.tables import TABLES
from callkeeper_assets.webhooks.payload import Format
from callkeeper_assets.webhooks.spool import is_spool_file, read_spooled

# Folders of the home that hold what was received, or given out.
FOLDERS: Final = ("spool", "exports")
_AT_ONCE: Final = 2_000
_MOST_EXAMPLES: Final = 5
_PARQUET: Final = b"PAR1"
_PAYLOADS: Final = "SELECT id, account_id, call_id, format, body FROM callkeeper_webhooks"
_OF_MANAGERS: Final = frozenset(("manager_phone", "manager_phones"))
# Whole numbers in tables of reports that are none of a call's values.
_NOT_VALUES: Final = frozenset((CALL_COLUMN, REPORT_COLUMN, DAY_COLUMN, "account_id"))


class Trace(NamedTuple):
    """One thing that holds the digits.

    Attributes:
        place: a file, a payload's table, or a table's column.
        key: what identifies it: see `name_raw_call`, `name_payload`, `name_row`.
        call_id: None if it is of no call.
    """

    place: str
    key: tuple[object, ...]
    call_id: int | None = None


@dataclass(frozen=True)
class FoundPlace:
    """Where the digits were found, for a person to decide.

    Attributes:
        count: raw calls, payloads or rows; 1 for a file that is looked at as a whole.
        calls: ids of some of the calls.
    """

    place: str
    count: int
    calls: tuple[int, ...] = ()


def name_raw_call(name: str, call_id: int) -> tuple[object, ...]:
    """Return what identifies a raw call: its file, as the store names it, and its id."""
    return ("raw", name, call_id)


def name_payload(row_id: int) -> tuple[object, ...]:
    """Return what identifies a payload of the inbox."""
    return ("payload", row_id)


def name_row(table: str, row: Mapping[str, Any]) -> tuple[object, ...]:
    """Return what identifies a table's row: all that is in it."""
    return ("row", table, repr(sorted(row.items())))


def sum_up(traces: Iterable[Trace]) -> list[FoundPlace]:
    """Return the places with how much they hold, in the order of their names."""
    found = list(traces)
    counts = Counter(one.place for one in found)
    return [
        FoundPlace(
            place,
            count,
            tuple(one.call_id for one in found if one.place == place and one.call_id is not None)[
                :_MOST_EXAMPLES
            ],
        )
        for place, count in sorted(counts.items())
    ]


@dataclass
class Verifier:
    """Looks everywhere; what only a manager's field holds is the company's own side, and left.

    Attributes:
        of_managers: account and call id of calls that hold the digits in a manager's field alone.
    """

    connection: Connection
    store: RawStore
    targets: Sequence[Target]
    tail: Tail
    of_managers: set[tuple[int | None, int | None]] = field(default_factory=set)

    def look(self) -> list[Trace]:
        """Return all that holds the digits.

        Raises:
            StoreError: The raw calls' place cannot be reached.
        """
        traces = [
            *self._look_through_files(),
            *self._look_through_inbox(),
            *self._look_through_spool(),
        ]
        # Calls first: they show which ones hold the digits as their manager's.
        tables = sorted(list_searched_tables(self.connection), key=lambda name: name != CALLS)
        for table in tables:
            traces += self._look_through_table(table)
        return traces

    def _look_through_files(self) -> Iterator[Trace]:
        accounts = {one.name: one.account_id for one in self.targets}
        kinds = build_kinds({})
        for path in self.store.list_files():
            name = self.store.name(path)
            content = self.store.read_file(path)
            rows = _read_parquet(content, name)
            if rows is None:
                if ".parquet" in name:
                    yield Trace(f"{name} (it cannot be read)", ("file", name))
                if may_hold(self.tail, _read_text(content)):
                    yield Trace(name, ("file", name))
                continue
            account_id = accounts.get(name.partition("/")[0])
            for call_id, text in rows:
                if self._is_found(text, "json", kinds, (account_id, call_id)):
                    yield Trace(name, name_raw_call(name, call_id or 0), call_id)

    def _look_through_inbox(self) -> Iterator[Trace]:
        kinds = {one.account_id: build_kinds(one.renamed) for one in self.targets}
        plain = build_kinds({})
        for row in self._read_rows(sql.SQL(_PAYLOADS)):
            account_id, call_id = row["account_id"], row["call_id"]
            text, names = _read_text(bytes(row["body"])), kinds.get(account_id, plain)
            if self._is_found(text, row["format"], names, (account_id, call_id)):
                yield Trace(WEBHOOKS, name_payload(row["id"]), call_id)

    def _look_through_spool(self) -> Iterator[Trace]:
        for folder in FOLDERS:
            for file in sorted((home() / folder).rglob("*")):
                name = f"{folder}/{file.relative_to(home() / folder)}"
                if not file.is_file() or is_spool_file(file):
                    continue
                if may_hold(self.tail, _read_text(_read_file(file))):
                    yield Trace(name, ("file", name))
        kinds = {one.name: build_kinds(one.renamed) for one in self.targets}
        plain = build_kinds({})
        for delivery in read_spooled(home() / "spool"):
            names = kinds.get(delivery.source, plain)
            if self._is_found(_read_text(delivery.body), delivery.format, names, (None, None)):
                yield Trace("spool", ("spool", delivery.source))

    def _is_found(
        self,
        text: str,
        form: Format,
        kinds: Mapping[str, Kind],
        call: tuple[int | None, int | None],
    ) -> bool:
        """Whether a document holds the digits as somebody's who is no manager."""
        if not may_hold(self.tail, text):
            return False
        found = {
            _find_kind(leaf, kinds) for leaf in list_leaves(text, form) if holds(self.tail, leaf)
        }
        found -= {"plain", "identity"}
        if found == {"manager_phone"} and call[1] is not None:
            self.of_managers.add(call)
        return bool(found - {"manager_phone"})

    def _look_through_table(self, table: str) -> Iterator[Trace]:
        is_users = table not in TABLES
        for row in self._read_rows(build_rows_query(table)):
            columns = [
                name
                for name, value in row.items()
                if any(holds(self.tail, leaf) for leaf in _list_values(name, value, is_users))
            ]
            if not columns:
                continue
            call = (row.get("account_id"), row.get("call_id") or row.get(CALL_COLUMN))
            if table == CALLS and _OF_MANAGERS.issuperset(columns):
                self.of_managers.add(call)
            if call not in self.of_managers:
                for name in columns:
                    yield Trace(f"{table}.{name}", name_row(table, row), call[1])

    def _read_rows(self, query: sql.SQL | sql.Composed) -> Iterator[dict[str, Any]]:
        """Yield rows as they come: memory holds some thousand of them."""
        with (
            self.connection.transaction(),
            self.connection.cursor("verifying", row_factory=dict_row) as cursor,
        ):
            cursor.itersize = _AT_ONCE
            yield from cursor.execute(query)


def _find_kind(leaf: Leaf, kinds: Mapping[str, Kind]) -> Kind:
    kind = kinds.get(leaf.path) or find_kind_of_unknown(leaf.path, leaf.text)
    # Ids and moments are known by their fields; anything else there is what it should not be.
    if kind in ("plain", "identity") and not (leaf.is_number or leaf.text.isdecimal()):
        return "unknown"
    return kind


def _list_values(name: str, value: object, is_users: bool) -> Iterator[Leaf]:
    """Yield what a column holds; a whole number counts where a report can have put a phone's."""
    if isinstance(value, str):
        yield Leaf(name, value)
    elif isinstance(value, dict | list):
        yield from list_leaves(msgspec.json.encode(value, enc_hook=str).decode())
    elif isinstance(value, bytes | memoryview):
        yield Leaf(name, _read_text(bytes(value)))
    elif is_users and isinstance(value, int) and name not in _NOT_VALUES:
        yield Leaf(name, str(value), is_number=True)


def _read_parquet(content: bytes, name: str) -> list[tuple[int | None, str]] | None:
    """Return the texts of each row, with its call id; None if it is no Parquet file, or damaged."""
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    if not content.startswith(_PARQUET):
        return None
    try:
        try:
            table, _ = decode_day(content, name=name)
        except UnreadableDayError:
            table = pq.ParquetFile(BytesIO(content)).read(use_threads=False)
    except (pa.ArrowException, OSError):
        return None
    rows = table.to_pylist()
    texts = [one for one in table.column_names if one not in ("call_id", "called_at")]
    # Each text alone: JSON with another text behind it is none.
    return [
        (row.get("call_id"), str(row[one])) for row in rows for one in texts if row[one] is not None
    ]


def _read_text(content: bytes) -> str:
    # What is written in two bytes a letter has a zero between its digits, which is no digit.
    return content.decode("utf-8", "replace")


def _read_file(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return b""


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
    ) -> tuple[list[FoundPlace], list[FoundPlace]]:
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
