"""Where a phone number stands: in raw calls, in webhooks' payloads, in rows of every table.

Read only. Whatever forgets, exports or verifies asks here, so that all three see the same.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl

from psycopg import sql
from psycopg.rows import dict_row

from callkeeper_assets.local_time import find_day
from callkeeper_assets.personal_data.shield import Connection, Target
from callkeeper_assets.privacy.rewriting import NumberRole, Seeker, gather
from callkeeper_assets.raw.store import (
    VERSIONS,
    RawStore,
    UnreadableDayError,
    Version,
    list_unusable,
)
from callkeeper_assets.reports.structure import CALL_COLUMN, list_report_tables
from callkeeper_assets.warehouse.schema import CALLS, FACTS, WEBHOOKS
from callkeeper_assets.warehouse.tables import TABLES
from callkeeper_assets.webhooks.inbox import read_as_json
from callkeeper_assets.webhooks.payload import Format
from callkeeper_assets.webhooks.spool import read_spooled

_PAYLOADS: Final = """
    SELECT id, call_id, format, body, state, received_at, event FROM callkeeper_webhooks
    WHERE account_id = %(account_id)s AND id > %(after)s
    ORDER BY id LIMIT 500
"""
_EXISTING: Final = """
    SELECT c.relname FROM pg_class AS c
    WHERE pg_table_is_visible(c.oid) AND c.relkind IN ('r', 'p') AND c.relname = ANY(%(names)s)
"""
# The number stays here: a server may write what it is asked into its log.
_ROWS: Final = "SELECT * FROM {table}"
# Of facts, which are many, what can be a number, and whose call they are of.
_FACTS: Final = """
    SELECT f.account_id, c.call_id, f.began_at, {columns} FROM callkeeper_calls_facts AS f
    LEFT JOIN callkeeper_calls AS c ON c.account_id = f.account_id AND c.id = f.calls_id
"""
_OF_MANAGERS: Final = ("manager_phone", "manager_phones", "manager")
_AT_ONCE: Final = 2_000


Row = Mapping[str, Any]

_IDS: Final = frozenset(("id", "account_id", "call_id", "calls_id", CALL_COLUMN))


@dataclass(frozen=True)
class RawHit:
    """A raw call with the number.

    Attributes:
        version: of the day's file in which it is.
        call_id: negative for a record without a readable id, which is no call (`shield`).
        reason: why it is no call; empty if it is one.
    """

    day: date
    version: Version
    call_id: int
    role: NumberRole
    payload: str
    reason: str = ""


@dataclass(frozen=True)
class PayloadHit:
    """A webhook's payload with the number; `call_id` is None if it is no call."""

    row_id: int
    call_id: int | None
    role: NumberRole
    format: Format
    body: bytes
    state: str
    event: str | None


@dataclass(frozen=True)
class RowHit:
    """A row of callkeeper_calls with the number, or its facts where these alone have it."""

    day: date
    call_id: int
    role: NumberRole


@dataclass
class SourceHits:
    """What one account holds.

    Attributes:
        masked: raw calls whose number is masked and can be this one.
        unreadable: files that could not be read, with the reason.
        unfinished: files that killed loads left half written.
    """

    target: Target
    raw: list[RawHit] = field(default_factory=list)
    payloads: list[PayloadHit] = field(default_factory=list)
    rows: list[RowHit] = field(default_factory=list)
    masked: int = 0
    unreadable: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)

    @property
    def roles(self) -> dict[int, set[NumberRole]]:
        """As whose the number stands in each call."""
        roles: dict[int, set[NumberRole]] = {}
        for one in self.list_hits():
            if one.call_id is not None:
                roles.setdefault(one.call_id, set()).add(one.role)
        return roles

    def list_hits(self) -> "list[RawHit | RowHit | PayloadHit]":
        """Return all of them, whatever they were found in."""
        return [*self.raw, *self.rows, *self.payloads]

    @property
    def of_managers(self) -> set[int]:
        """Calls that have the number as their manager's, and nowhere else."""
        return {call_id for call_id, roles in self.roles.items() if roles == {"manager"}}

    def add_row(self, number: str, row: Row) -> None:
        """Add a row of callkeeper_calls, or of facts."""
        seeker = self.target.build_seeker(number)
        role: NumberRole = "mention"
        if any(seeker.is_in(row.get(name) or "") for name in ("client_phone", "client")):
            role = "client"
        elif not is_in_row(seeker, {**row, **dict.fromkeys(_OF_MANAGERS)}):
            role = "manager"
        source = self.target.source
        called_at: datetime = row.get("called_at") or row["began_at"]
        day = find_day(called_at, source.time_zone) if source else called_at.astimezone(UTC).date()
        self.rows.append(RowHit(day, row["call_id"], role))


def search_source(
    connection: Connection, store: RawStore, target: Target, number: str
) -> SourceHits:
    """Search an account's raw calls and payloads.

    Raises:
        StoreError: The raw calls' place cannot be reached.
    """
    hits = SourceHits(target, unfinished=store.list_unfinished(target.name))
    seeker = target.build_seeker(number)
    for version in VERSIONS:
        days = sorted(store.list_days(target.name, version))
        for day, read in store.ahead(
            partial(store.read_stored, target.name, version=version), days
        ):
            _search_day(read, hits, seeker, day, version)
    if target.account_id is not None:
        seeker = target.build_seeker(number, of_webhooks=True)
        hits.payloads += _search_payloads(connection, target.account_id, seeker)
    return hits


def _search_day(
    read: Callable[[], tuple[Any, object]],
    hits: SourceHits,
    seeker: Seeker,
    day: date,
    version: Version,
) -> None:
    try:
        calls, _ = read()
    except UnreadableDayError as error:
        hits.unreadable.append(str(error))
        return
    ids, payloads = calls["call_id"].to_pylist(), calls["payload"].to_pylist()
    reasons = [one.reason for one in list_unusable(calls)]
    usable = len(ids) - len(reasons)
    for place, (call_id, payload) in enumerate(zip(ids, payloads, strict=True)):
        role = seeker.find_role(payload)
        if role is not None:
            reason = reasons[place - usable] if place >= usable else ""
            hits.raw.append(RawHit(day, version, call_id, role, payload, reason))
        elif "**" in payload and seeker.could_be_in(payload):
            hits.masked += 1


def _search_payloads(
    connection: Connection, account_id: int, seeker: Seeker
) -> Iterator[PayloadHit]:
    for row_id, call_id, form, body, state, event in read_payloads(connection, account_id):
        role = find_role_in_body(seeker, form, body)
        if role is not None:
            yield PayloadHit(row_id, call_id, role, form, body, state, event)


def search_spool(folder: Path, targets: Iterable[Target], number: str) -> dict[str, int]:
    """Count, by source, the payloads with the number that wait on disk for the database."""
    seekers = {one.name: one.build_seeker(number, of_webhooks=True) for one in targets}
    counts: dict[str, int] = {}
    for delivery in read_spooled(folder):
        seeker = seekers.get(delivery.source) or Seeker(number, [])
        role = find_role_in_body(seeker, delivery.format, delivery.body)
        if role is not None and role != "manager":
            counts[delivery.source] = counts.get(delivery.source, 0) + 1
    return counts


def read_payloads(
    connection: Connection, account_id: int
) -> Iterator[tuple[int, int | None, Format, bytes, str, str | None]]:
    """Yield an account's payloads, in their order; memory holds some hundred of them."""
    after = -1
    while True:
        rows = connection.execute(_PAYLOADS, {"account_id": account_id, "after": after}).fetchall()
        for row_id, call_id, form, body, state, _, event in rows:
            yield row_id, call_id, form, bytes(body), state, event
        if not rows:
            return
        after = rows[-1][0]


def find_role_in_body(seeker: Seeker, form: Format, body: bytes) -> NumberRole | None:
    """Return as whose the number stands in a payload's body; None if it does not."""
    text = read_body(body)
    if not seeker.may_be_in(text):
        return None
    as_json = read_as_json(form, body)
    if as_json is not None and form == "json":
        return seeker.find_role(text)
    if as_json is not None:
        pairs = parse_qsl(text, keep_blank_values=True)
        return seeker.find_role(as_json.decode()) or seeker.find_role_in(gather(pairs))
    return "mention" if seeker.is_in(text) else None


def read_body(body: bytes) -> str:
    """Return a body as text to search, whatever it is: of UTF-16, digits and signs are left."""
    return body.replace(b"\0", b"").decode("utf-8", "replace")


def list_searched_tables(connection: Connection) -> list[str]:
    """Return the tables whose rows may hold a number: the declared ones, then those of reports."""
    declared = [
        table.name
        for table in TABLES.values()
        # Its bodies are bytes; they are searched one by one.
        if table.name != WEBHOOKS and any(one.type in ("text", "jsonb") for one in table.columns)
    ]
    wanted = [*declared, *list_report_tables(connection)]
    found = {name for (name,) in connection.execute(_EXISTING, {"names": wanted}).fetchall()}
    return [name for name in wanted if name in found]


def search_tables(
    connection: Connection, number: str, targets: Iterable[Target]
) -> dict[str, list[Row]]:
    """Return the rows that hold the number, or what hashing made of it, by table."""
    seekers = [target.build_seeker(number) for target in targets]
    seeker = Seeker(number, sorted({token for one in seekers for token in one.tokens}))
    found: dict[str, list[Row]] = {}
    for table in list_searched_tables(connection):
        hits = [row for row in _read_rows(connection, table) if is_in_row(seeker, row)]
        if hits:
            found[table] = hits
    return found


def build_rows_query(table: str) -> sql.Composed:
    """Build the statement that reads all of a table's rows that may hold a number."""
    if table != FACTS:
        return sql.SQL(_ROWS).format(table=sql.Identifier(table))
    texts = [sql.Identifier("f", one.name) for one in TABLES[FACTS].columns if one.type == "text"]
    return sql.SQL(_FACTS).format(columns=sql.SQL(", ").join(texts))


def _read_rows(connection: Connection, table: str) -> Iterator[Row]:
    """Yield a table's rows as they come: memory holds some thousand of them."""
    query = build_rows_query(table)
    with (
        connection.transaction(),
        connection.cursor("searching", row_factory=dict_row) as cursor,
    ):
        cursor.itersize = _AT_ONCE
        yield from cursor.execute(query)


def is_in_row(seeker: Seeker, row: Row) -> bool:
    """Whether a value of a row holds the number; ids and amounts are no numbers of phones."""
    return any(
        seeker.is_in(value if isinstance(value, str) else str(value))
        for name, value in row.items()
        if isinstance(value, str | dict | list) or (isinstance(value, int) and name not in _IDS)
    )


def find_hits(
    connection: Connection,
    store: RawStore,
    targets: Sequence[Target],
    number: str,
    say: Callable[[str], None],
) -> tuple[dict[str, SourceHits], dict[str, list[Row]]]:
    """Search everything; rows of calls that have the number as their manager's are left out.

    Returns:
        What each account holds, by name; rows with the number, by table.

    Raises:
        StoreError: The raw calls' place cannot be reached.
    """
    hits = {}
    for target in targets:
        say(f"Searching {target.name}.")
        hits[target.name] = search_source(connection, store, target, number)
    rows = search_tables(connection, number, targets)
    names = {one.account_id: one.name for one in targets}
    found: set[tuple[int, int]] = set()
    # Facts say what their call does, unless somebody has changed one of the two.
    for row in [*rows.get(CALLS, ()), *rows.get(FACTS, ())]:
        name, call = names.get(row["account_id"]), (row["account_id"], row["call_id"])
        if name is not None and call not in found and call[1] is not None:
            found.add(call)
            hits[name].add_row(number, row)
    return hits, _without_managers(rows, hits.values())


def _without_managers(
    rows: Mapping[str, Sequence[Row]], hits: Iterable[SourceHits]
) -> dict[str, list[Row]]:
    """Leave out rows of calls that have the number as their manager's alone."""
    managers = {(one.target.account_id, call) for one in hits for call in one.of_managers}
    kept = {
        table: [
            row
            for row in found
            if (row.get("account_id"), row.get("call_id") or row.get(CALL_COLUMN)) not in managers
        ]
        for table, found in rows.items()
    }
    return {table: found for table, found in kept.items() if found}
