"""Rewrites what is stored of an account: raw files, the spool, the inbox; then the tables.

Tables are brought to what raw calls and the inbox say now by the code that always fills them; rows
of dimensions that nothing refers to go, and PostgreSQL takes back their space.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from pathlib import Path
from typing import Final

from callkeeper_assets.config.source import Source
from callkeeper_assets.home import home
from callkeeper_assets.local_time import find_day
from callkeeper_assets.personal_data.searching import list_searched_tables, read_payloads
from callkeeper_assets.personal_data.shield import Connection
from callkeeper_assets.postgres.locks import check_locks
from callkeeper_assets.raw.store import (
    VERSIONS,
    RawStore,
    UnreadableDayError,
    Version,
    replace_payloads,
)
from callkeeper_assets.reports.loading import load_reports
from callkeeper_assets.reports.rows import BuiltDay
from callkeeper_assets.warehouse.dimension_rows import delete_orphans, vacuum_tables
from callkeeper_assets.warehouse.loader import Loader
from callkeeper_assets.warehouse.records import Guard, LoadedDay
from callkeeper_assets.warehouse.schema import WEBHOOKS
from callkeeper_assets.warehouse.session import Session
from callkeeper_assets.webhooks.inbox import Inbox
from callkeeper_assets.webhooks.inbox_rows import read_days_of_reports, write_body
from callkeeper_assets.webhooks.payload import Format
from callkeeper_assets.webhooks.processing import InboxRun
from callkeeper_assets.webhooks.spool import Spool, list_files

# Call id and JSON text of a raw call -> its new text.
RewriteCall = Callable[[int, bytes], bytes]
# Row id, call id, format and body of a payload -> its new format and body.
RewriteBody = Callable[[int, int | None, Format, bytes], tuple[Format, bytes]]

# A receiver that has its database drains its spool within a second or two.
_DRAIN_PATIENCE_SEC: Final = 15.0
_AT_ONCE: Final = 200

_LOADED: Final = """
    SELECT day FROM callkeeper_days WHERE account_id = %(account_id)s AND day = ANY(%(days)s)
"""
_BY_WEBHOOKS: Final = """
    SELECT call_id FROM callkeeper_calls
    WHERE account_id = %(account_id)s AND origin = 'webhook' AND call_id = ANY(%(calls)s)
"""
_AGAIN: Final = """
    UPDATE callkeeper_webhooks SET state = 'new', reason = NULL, processed_at = NULL
    WHERE account_id = %(account_id)s AND state = 'processed' AND call_id = ANY(%(calls)s)
"""
_MOMENTS_OF_CALLS: Final = """
    SELECT called_at FROM callkeeper_calls
    WHERE account_id = %(account_id)s AND call_id = ANY(%(calls)s)
"""


@dataclass
class Rewritten:
    """What was, or would be, rewritten.

    Attributes:
        days: of raw calls that changed, without what lies beside them.
        unreadable: files that could not be read, with the reason.
    """

    files: int = 0
    calls: int = 0
    payloads: int = 0
    days: set[date] = field(default_factory=set)
    call_ids: set[int] = field(default_factory=set)
    unreadable: list[str] = field(default_factory=list)


def rewrite_raw_days(
    store: RawStore,
    source: str,
    rewrite: RewriteCall,
    done: Rewritten,
    *,
    is_dry: bool = False,
    only: Mapping[Version, set[date]] | None = None,
) -> None:
    """Rewrite an account's raw days, and what lies beside them; files without a change stay.

    Args:
        store: Where they lie.
        source: The account's name.
        rewrite: Gives each call's new text.
        done: Called with what changed.
        is_dry: Count, and write nothing.
        only: Days to look at, by version of their files.

    Raises:
        StoreError: The place cannot be reached or written.
    """
    for version in VERSIONS:
        days = store.list_days(source, version)
        wanted = sorted(days if only is None else days & only[version])
        for day, read in store.ahead(partial(store.read_stored, source, version=version), wanted):
            try:
                calls, details = read()
            except UnreadableDayError as error:
                done.unreadable.append(str(error))
                continue
            ids, old = calls["call_id"].to_pylist(), calls["payload"].to_pylist()
            before = [payload.encode() for payload in old]
            after = [rewrite(*call) for call in zip(ids, before, strict=True)]
            changed = {
                call_id
                for call_id, one, other in zip(ids, before, after, strict=True)
                if one != other
            }
            if not changed:
                continue
            done.files += 1
            done.calls += len(changed)
            done.call_ids |= changed
            if version == "stored":
                done.days.add(day)
            if not is_dry:
                check_locks()
                store.rewrite(replace_payloads(calls, after), details, version)


def rewrite_payloads(
    connection: Connection,
    session: Session,
    account_id: int,
    rewrite: RewriteBody,
    done: Rewritten,
    *,
    is_dry: bool = False,
) -> None:
    """Rewrite an account's payloads in the inbox."""
    for row_id, call_id, form, body, _, _ in read_payloads(connection, account_id):
        after = rewrite(row_id, call_id, form, body)
        if after == (form, body):
            continue
        done.payloads += 1
        if call_id is not None:
            done.call_ids.add(call_id)
        if not is_dry:
            check_locks()
            write_body(session, account_id, row_id, *after)


def spool_folder() -> Path:
    """Return where receivers of this home spool."""
    return home() / "spool"


def drain_spool(renamed: Mapping[str, Mapping[str, str]]) -> bool:
    """Bring what killed receivers left in the spool into the inbox; wait for living ones' own.

    Returns:
        Whether the spool is empty: a receiver that cannot reach the database keeps its file.

    Raises:
        InboxAwayError: The database went away.
    """
    if not list_files(spool_folder()):
        return True
    asyncio.run(_drain_left(renamed))
    until = time.monotonic() + _DRAIN_PATIENCE_SEC
    while list_files(spool_folder()) and time.monotonic() < until:
        time.sleep(0.2)
    return not list_files(spool_folder())


async def _drain_left(renamed: Mapping[str, Mapping[str, str]]) -> None:
    spool, inbox = Spool(spool_folder()), Inbox(renamed)
    try:
        spool.take_over()
        await inbox.connect()
        while deliveries := spool.read(_AT_ONCE):
            await inbox.store(deliveries)
            spool.forget_read()
    finally:
        await inbox.close()
        spool.close()


@dataclass
class Reloaded:
    """What came of it.

    Attributes:
        days: that the tables hold anew.
        built: days of which the reports were built.
        problems: why others are not.
    """

    days: set[date] = field(default_factory=set)
    built: set[date] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Reloader:
    """Reloads one source.

    Attributes:
        url: of the database.
        run_id: goes into the load log.
    """

    url: str
    connection: Connection
    store: RawStore
    source: Source
    account_id: int
    run_id: str

    def reload(self, days: Collection[date], call_ids: Collection[int]) -> Reloaded:
        """Load days anew from raw calls, and what is known of these calls only from webhooks.

        Args:
            days: Of which raw calls changed; those that the tables have not are left out.
            call_ids: Of which raw calls or payloads changed.

        Raises:
            WarehouseError: The database went away, or refuses.
            StoreError: The raw calls' place cannot be reached.
        """
        outcome = Reloaded()
        values = {"account_id": self.account_id, "days": sorted(days), "calls": sorted(call_ids)}
        loaded = {day for (day,) in self.connection.execute(_LOADED, values).fetchall()}
        moments = self.connection.execute(_MOMENTS_OF_CALLS, values).fetchall()
        of_calls = {find_day(moment, self.source.time_zone) for (moment,) in moments}
        with Loader(self.url) as loader:
            self._load_days(loader, sorted(loaded), outcome)
            self._process_again(loader, values, outcome)
        self._build_reports(sorted(loaded | of_calls), outcome)
        return outcome

    def _load_days(self, loader: Loader, days: list[date], outcome: Reloaded) -> None:
        results = loader.load(
            self.source.account,
            self.store.read_days(
                self.source.name, days, lambda error: outcome.problems.append(str(error))
            ),
            tables=self.source.tables,
            filters=self.source.filters,
            run_id=self.run_id,
            guard=Guard(max_lost_share=self.source.max_lost_share),
        )
        for result in results:
            if isinstance(result, LoadedDay):
                outcome.days.add(result.day)
            else:
                outcome.problems.append(result.reason)

    def _process_again(self, loader: Loader, values: dict[str, object], outcome: Reloaded) -> None:
        """Process the payloads of webhooks' calls again: they have no other source."""
        if self.source.webhook is None:
            return
        found = self.connection.execute(_BY_WEBHOOKS, values).fetchall()
        if not found:
            return
        parameters = {**values, "calls": [call_id for (call_id,) in found]}
        self.connection.execute(_AGAIN, parameters)
        run = InboxRun(loader, [self.source], self.store, self.run_id)
        run.process()
        outcome.problems += [str(error) for error in run.failures.values()]

    def _build_reports(self, days: list[date], outcome: Reloaded) -> None:
        if not self.source.reports or not days:
            return
        unreadable: dict[date, str] = {}
        results = load_reports(
            self.url,
            self.source.account,
            read_days_of_reports(self.url, self.store, self.source, days, unreadable),
            reports=self.source.reports,
            configured=self.source.reports,
            run_id=self.run_id,
        )
        for result in results:
            if isinstance(result, BuiltDay):
                outcome.built.add(result.day)
            else:
                outcome.problems.append(result.reason)


def delete_leftovers(connection: Connection, touched: Collection[str]) -> list[str]:
    """Delete rows of dimensions without a fact, and give up old versions of rows.

    Args:
        connection: in autocommit.
        touched: tables whose rows changed, beside dimensions and the inbox.

    Returns:
        What could not be deleted now, with the reason.
    """
    left = sorted({table for table, gone in delete_orphans(connection) if gone is None})
    vacuum_tables(
        connection,
        [WEBHOOKS, *(one for one in list_searched_tables(connection) if one in touched)],
    )
    return [
        f"{table}: loads were under way all the time, rows that nothing refers to are still there."
        for table in left
    ]
