"""What receivers that are gone left in the spool, and is older than a source keeps.

A running receiver drains its own files as soon as the database is there, so that retention finds
their payloads in the inbox. Of the others only the old payloads of the source are dropped: all else
is written to a new file before the old one goes, and left to the next receiver.
"""

import uuid
from datetime import datetime
from pathlib import Path
from typing import Final

from callkeeper_assets.warehouse.records import Deleted
from callkeeper_assets.webhooks.delivery import Delivery
from callkeeper_assets.webhooks.spool_file import SUFFIX, TORN_SUFFIX, SpoolFile

_MOST_AT_ONCE: Final = 500


def drop_old_payloads(folder: Path, source: str, before: datetime, *, dry_run: bool) -> Deleted:
    """Drop the payloads of a source that came before a moment; return how many, and their bytes.

    What was torn when a receiver was killed is dropped as a whole once it is as old, whosever
    payloads it has: they are in the inbox.

    Raises:
        OSError: A file cannot be read, or a new one cannot be written; nothing is lost.
    """
    dropped = Deleted()
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        file = SpoolFile.take_over(path)
        if file is None:
            continue
        try:
            old = _measure_old(file, source, before)
            if old.rows and not dry_run:
                _rewrite(file, source, before)
        finally:
            file.close()
        dropped += old
    for path in sorted(folder.glob(f"*{TORN_SUFFIX}")):
        details = path.stat()
        if details.st_mtime < before.timestamp():
            dropped += Deleted(1, details.st_size)
            if not dry_run:
                path.unlink()
    return dropped


def _is_old(delivery: Delivery, source: str, before: datetime) -> bool:
    return delivery.source == source and delivery.received_at < before


def _measure_old(file: SpoolFile, source: str, before: datetime) -> Deleted:
    sizes = [
        len(one.body)
        for some in file.read_all(_MOST_AT_ONCE)
        for one in some
        if _is_old(one, source, before)
    ]
    return Deleted(len(sizes), sum(sizes))


def _rewrite(file: SpoolFile, source: str, before: datetime) -> None:
    """Put what stays into a new file; a kill in between leaves both, which stores nothing twice."""
    new = SpoolFile.create(file.path.with_name(f"{uuid.uuid4().hex}{SUFFIX}"))
    try:
        for some in file.read_all(_MOST_AT_ONCE):
            kept = [one for one in some if not _is_old(one, source, before)]
            if kept:
                new.append(kept)
        if not new.waiting:
            new.path.unlink()
    finally:
        new.close()
    # What is torn at its end was never answered for.
    file.path.unlink()
