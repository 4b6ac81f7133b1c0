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
from callkeeper_assets.language import tr

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
    say(tr("Reading the database."))
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
    say(tr("Reading raw calls."))
    with ThreadPoolExecutor(_READERS, "verify") as pool:
        yield from filter(None, pool.map(lambda one: _verify_raw(place, one), raw))


def _verify_table(place: Place, backup: Backup, table: TablePart) -> Iterator[str]:
    with place.reading(f"{backup.name}/{table.file}") as file:
        # A row is a line: an end of line inside of a value is written otherwise.
        rows = sum(part.count(b"\n") for part in decompressing(file)) if table.columns else 0
        check_part(place, backup, table, file.drain().sha256)
    if rows != table.rows:
        yield tr(
            "{backup}/{file} has {rows} rows, not {expected}.",
            backup=backup.name,
            file=table.file,
            rows=rows,
            expected=table.rows,
        )


def _verify_raw(place: Place, file: RawFile) -> str | None:
    content = place.read(name_blob(file.sha256))
    if content is not None and hash_content(content) == file.sha256:
        return None
    state = tr("is gone") if content is None else tr("is damaged")
    return tr(
        "{blob} at {place}, the raw calls {file}, {state}. Delete it if it is there; if the "
        "installation still has the day as it was, the next backup writes it again.",
        blob=name_blob(file.sha256),
        place=place.name,
        file=file.name,
        state=state,
    )
