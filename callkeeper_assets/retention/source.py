"""Retention: what a source has that is older than it keeps goes from everywhere, or is counted.

The order matters to a kill only in that the tables come first: each step finds what is left for it
by itself, so that the next retention ends what one that was killed began. Dagster's own records are
`dagster_ext.event_log`'s. Knows nothing of Dagster.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Final

import psycopg

from callkeeper_assets.calls.store import RawStore, StoreError
from callkeeper_assets.config.source import Source
from callkeeper_assets.postgres import connect
from callkeeper_assets.postgres.locks import check_locks
from callkeeper_assets.retention.warehouse import OldCalls
from callkeeper_assets.warehouse.dimension_rows import count_orphans, delete_orphans, vacuum_tables
from callkeeper_assets.warehouse.records import Deleted
from callkeeper_assets.warehouse.session import explain_error
from callkeeper_assets.webhooks.spool import drop_old_payloads

Connection = psycopg.Connection[Any]

RAW_FILES: Final = "raw calls, files"
SPOOL: Final = "spool, payloads"

_LEFT_OFF: Final = "What it deleted, if anything, stays deleted; the next retention does the rest"

# Called with how many days are deleted, and of how many.
Progress = Callable[[int, int], None]


@dataclass
class Retained:
    """What one retention deleted, or would.

    Attributes:
        first_kept: the first day that stays.
        places: by table, and by `RAW_FILES` and `SPOOL`; none where nothing is.
        left: dimensions with rows that nothing refers to, but which loads left no gap to delete.
    """

    first_kept: date
    places: dict[str, Deleted] = field(default_factory=dict)
    left: set[str] = field(default_factory=set)

    def add_all(self, deleted: Mapping[str, Deleted]) -> None:
        """Add what went of several places."""
        for place, one in deleted.items():
            self.add(place, one)

    def add(self, place: str, deleted: Deleted) -> None:
        """Add what went of a place."""
        if deleted.rows:
            self.places[place] = self.places.get(place, Deleted()) + deleted


def _clear_warehouse(
    connection: Connection,
    source: Source,
    retained: Retained,
    run_id: str | None,
    report: Progress,
) -> None:
    """Delete, as the run given, or count."""
    account = source.account
    old = OldCalls(connection, account, retained.first_kept)
    if old.account_id is None:
        return
    if run_id is None:
        until = source.start_of(retained.first_kept)
        retained.add_all(old.count())
        retained.add_all(count_orphans(connection, old.account_id, until))
        return
    for done, total, gone in old.delete_days(run_id):
        retained.add_all(gone)
        report(done, total)
    for gone in old.delete_payloads(run_id):
        retained.add_all(gone)
    for place, orphans in delete_orphans(connection):
        if orphans is None:
            retained.left.add(place)
        else:
            retained.add(place, orphans)
    vacuum_tables(connection, list(retained.places))


@contextmanager
def _explained() -> Iterator[None]:
    """Raise the driver's errors as the warehouse's."""
    try:
        yield
    except psycopg.Error as error:
        raise explain_error(
            error.sqlstate or "", str(error), "delete old calls", _LEFT_OFF
        ) from None


def retain_calls(
    url: str,
    source: Source,
    store: RawStore,
    spool: Path,
    *,
    run_id: str,
    dry_run: bool,
    report: Progress,
) -> Retained:
    """Delete what a source with retention does not keep, or count it.

    Args:
        url: of the database, whose schema is this version's.
        source: its `retention` is set.
        store: where its raw calls lie.
        spool: the folder of the webhooks' spool.
        run_id: goes into the load log.
        dry_run: count, and delete nothing.
        report: is told of each day that is deleted.

    Raises:
        DatabaseError: The database cannot be reached.
        WarehouseError: It went away, or refuses. As after all of these, what went is gone, and the
            next retention deletes the rest.
        StoreError: The raw calls, or the spool, cannot be read or deleted.
    """
    first_kept = source.first_kept_day(source.today())
    assert first_kept is not None  # noqa: S101 -- see above
    retained = Retained(first_kept)
    with connect(url, autocommit=True) as connection, _explained():
        _clear_warehouse(connection, source, retained, run_id if not dry_run else None, report)
    files = store.measure_old(source.name, first_kept)
    check_locks()
    for path in files if not dry_run else ():
        store.delete(path)
    retained.add(RAW_FILES, Deleted(len(files), sum(files.values())))
    until = source.start_of(first_kept)
    try:
        retained.add(SPOOL, drop_old_payloads(spool, source.name, until, dry_run=dry_run))
    except OSError as error:
        raise StoreError(
            f"The webhooks' spool in {spool} cannot be cleared of old payloads: "
            f"{error.strerror or error}. Check its permissions and free space; the next retention "
            f"does the rest."
        ) from error
    return retained
