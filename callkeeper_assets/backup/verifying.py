"""Reads all of a backup as it would be restored, and says what is wrong with it; writes nothing."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from callkeeper_assets.backup.place import DamagedError, Place, decompressing, hash_content
from callkeeper_assets.backup.records import (
    Backup,
    RawFile,
    TablePart,
    check_part,
    name_blob,
    read_part,
    read_raw_list,
)

_READERS: Final = 8


def verify_backup(
    place: Place, backup: Backup, say: Callable[[str], None] = lambda _: None
) -> Iterator[str]:
    """Read all of a backup as it would be restored; yield what is wrong with it.

    Raises:
        BackupError: The place cannot be read.
    """
    for part in (backup.before, backup.after, *backup.files):
        try:
            read_part(place, backup, part)
        except DamagedError as error:
            yield str(error)
    say("Reading the database.")
    for table in backup.tables:
        try:
            yield from _verify_table(place, backup, table)
        except DamagedError as error:
            yield str(error)
    try:
        raw = read_raw_list(place, backup)
    except DamagedError as error:
        yield str(error)
        return
    say("Reading raw calls.")
    with ThreadPoolExecutor(_READERS, "verify") as pool:
        yield from filter(None, pool.map(lambda one: _verify_raw(place, one), raw))


def _verify_table(place: Place, backup: Backup, table: TablePart) -> Iterator[str]:
    with place.reading(f"{backup.name}/{table.file}") as file:
        # A row is a line: an end of line inside of a value is written otherwise.
        rows = sum(part.count(b"\n") for part in decompressing(file)) if table.columns else 0
        check_part(place, backup, table, file.drain().sha256)
    if rows != table.rows:
        yield f"{backup.name}/{table.file} has {rows} rows, not {table.rows}."


def _verify_raw(place: Place, file: RawFile) -> str | None:
    content = place.read(name_blob(file.sha256))
    if content is not None and hash_content(content) == file.sha256:
        return None
    state = "gone" if content is None else "damaged"
    return (
        f"{name_blob(file.sha256)} at {place.name}, the raw calls {file.name}, is {state}. "
        f"Delete it if it is there; if the installation still has the day as it was, the next "
        f"backup writes it again."
    )
