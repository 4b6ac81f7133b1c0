"""Rewrites what is stored of an account: its raw files, the spool and the inbox.

What rewrites is given: a rule, or what is left of forgotten calls. Each file is replaced as a whole
and each payload in one statement, so that a kill leaves the old or the new one; doing it again
changes nothing.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Final

from callkeeper_assets.database.locks import check_locks
from callkeeper_assets.home import home
from callkeeper_assets.personal_data.searching import read_payloads
from callkeeper_assets.personal_data.targets import Connection
from callkeeper_assets.raw.days import replace_payloads
from callkeeper_assets.raw.errors import UnreadableDayError
from callkeeper_assets.raw.store import VERSIONS, RawStore, Version
from callkeeper_assets.warehouse.session import Session
from callkeeper_assets.webhooks.document import Format
from callkeeper_assets.webhooks.inbox import Inbox
from callkeeper_assets.webhooks.inbox_rows import write_body
from callkeeper_assets.webhooks.spool import Spool, list_files

# Call id and JSON text of a raw call -> its new text.
RewriteCall = Callable[[int, bytes], bytes]
# Row id, call id, format and body of a payload -> its new format and body.
RewriteBody = Callable[[int, int | None, Format, bytes], tuple[Format, bytes]]

# A receiver that has its database drains its spool within a second or two.
_DRAIN_PATIENCE_SEC: Final = 15.0
_AT_ONCE: Final = 200


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
        done: Is told what changed.
        is_dry: Count, and write nothing.
        only: Days to look at, by version of their files.

    Raises:
        StoreError: The place cannot be reached or written.
    """
    for version in VERSIONS:
        days = store.list_days(source, version)
        for day in sorted(days if only is None else days & only[version]):
            try:
                calls, details = store.read_stored(source, day, version)
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
