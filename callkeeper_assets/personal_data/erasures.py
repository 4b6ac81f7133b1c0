"""The log of erasures: what is shown to an auditor. No number is in it, only a keyed hash.

The key is the home's own, in a file that its owner alone can read. Whoever has a number can tell
whether a record is of it; whoever has only the table cannot try all numbers.
"""

import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from psycopg.types.json import Jsonb

from callkeeper_assets.config.errors import ConfigError
from callkeeper_assets.home import home, make_folder
from callkeeper_assets.language import tr
from callkeeper_assets.personal_data.shield import Connection
from callkeeper_assets.personal_data.verifying import FoundPlace
from callkeeper_assets.privacy.tails import hash_tail, read_tail

KEY_FILE: Final = "erasures.key"
_OF_REQUEST: Final = """
    SELECT DISTINCT number_hash FROM callkeeper_erasures WHERE request_id = %(request_id)s
"""
_VERIFIED: Final = """
    UPDATE callkeeper_erasures SET verified_at = now(), left_over = %(left_over)s
    WHERE request_id = %(request_id)s
"""
_ALL: Final = """
    SELECT a.name, e.request_id, e.reference, e.number_hash, e.requested_at, e.finished_at,
        e.verified_at, e.found, e.left_over, count(f.call_id)
    FROM callkeeper_erasures AS e
    JOIN general_accounts AS a USING (account_id)
    LEFT JOIN callkeeper_forgotten_calls AS f USING (account_id, request_id)
    GROUP BY a.name, e.account_id, e.request_id
    ORDER BY e.requested_at, e.request_id, a.name
"""


@dataclass(frozen=True)
class ErasureRecord:
    """What the log has of one request in one source.

    Attributes:
        reference: on whose word; empty if nobody said.
        number_hash: of the number's last nine digits; None in a record of an older version.
        found: what there was, by place.
        left_over: where these digits were after it, by place; None if nobody has looked.
        calls: that are noted as forgotten by it.
    """

    source: str
    request_id: str
    reference: str | None
    number_hash: str | None
    requested_at: datetime
    finished_at: datetime | None
    verified_at: datetime | None
    found: dict[str, Any]
    left_over: dict[str, int] | None
    calls: int


def hash_number_of(number: str) -> str:
    """Return the hash by which a number's records are known; the home's key is made if it has none.

    Raises:
        ConfigError: The key's file cannot be read or written.
    """
    return hash_tail(read_tail(number), read_key())


def read_key() -> bytes:
    """Return the home's key; it is made if there is none.

    Raises:
        ConfigError: The key's file cannot be read or written.
    """
    file = home() / KEY_FILE
    try:
        if not file.exists():
            _make_key(file)
        key = file.read_bytes().strip()
    except OSError as error:
        raise ConfigError(
            tr(
                "The key of erasures' records, {file}, cannot be read or written: {problem}. "
                "Nothing was erased. Mend the folder's permissions or free space, then run it "
                "again.",
                file=file,
                problem=error.strerror,
            )
        ) from None
    if not key:
        raise ConfigError(
            tr(
                "The key of erasures' records, {file}, is empty. Put it back from a backup; "
                "without one delete the file: a new key is made, and older records are not told "
                "by number.",
                file=file,
            )
        )
    return key


def _make_key(file: Path) -> None:
    """Write a new key, whole or not at all; of two processes one makes it."""
    make_folder(file.parent)
    beside = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as written:
            written.write(secrets.token_urlsafe(32) + "\n")
            written.flush()
            os.fsync(written.fileno())
        # Fails where another process was first, whose key counts.
        os.link(beside, file)
    except FileExistsError:
        pass
    finally:
        beside.unlink(missing_ok=True)


def read_hash(connection: Connection, request_id: str) -> str | None:
    """Return the hash of a request's number; None if there is no such request.

    Raises:
        ConfigError: An older version has noted it, without a hash.
    """
    rows = connection.execute(_OF_REQUEST, {"request_id": request_id}).fetchall()
    if rows and rows[0][0] is None:
        raise ConfigError(
            tr(
                "The request {request_id} is of an older version, and has no hash of its number: "
                "type callkeeper forget with the number again.",
                request_id=request_id,
            )
        )
    return str(rows[0][0]) if rows else None


def note_verified(connection: Connection, request_id: str, places: Sequence[FoundPlace]) -> bool:
    """Note what was found after a request's erasure; return whether the log has the request."""
    left_over = {one.place: one.count for one in places}
    values = {"request_id": request_id, "left_over": Jsonb(left_over)}
    return connection.execute(_VERIFIED, values).rowcount > 0


def list_erasures(connection: Connection, number: str = "") -> list[ErasureRecord]:
    """Return the log, the oldest first; of one number, if it is given."""
    records = [ErasureRecord(*row) for row in connection.execute(_ALL).fetchall()]
    if not number:
        return records
    hashed = hash_number_of(number)
    return [one for one in records if one.number_hash == hashed]
