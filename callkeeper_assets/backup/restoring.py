"""Restores a backup into an installation that has nothing yet, and brings it to this version.

The database is filled in one transaction, which ends when all files are there. One that was killed
is typed again: a file in the home tells that what lies there is its own, and a remark at a table
that the database was filled.
"""

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psycopg
from psycopg import sql

from callkeeper_assets.backup.place import BackupError, Place, decompressing, hash_content
from callkeeper_assets.backup.records import (
    Backup,
    FilePart,
    RawFile,
    TablePart,
    check_part,
    list_backups,
    list_secrets,
    name_blob,
    read_part,
    read_raw_list,
)
from callkeeper_assets.home import (
    UnreadableSecretError,
    find_project,
    home,
    project_root,
    read_secret,
    set_dagster_home,
)
from callkeeper_assets.language import tr
from callkeeper_assets.postgres.schemas import INTERNAL, LET_OWNER_FIND, PUBLIC
from callkeeper_assets.postgres.snapshots import (
    SequenceState,
    check_empty,
    explaining,
    make_relations,
    set_sequence,
    write_rows,
)
from callkeeper_assets.postgres.url import connect
from callkeeper_assets.raw.store import RawStore
from callkeeper_assets.warehouse.migrate import VERSION_TABLE, check_known, ensure_schema

if TYPE_CHECKING:
    from callkeeper_assets.postgres.connection import Connection

_MARKER: Final = "restoring.json"
_COPIERS: Final = 8
_REMARK: Final = "SELECT obj_description(to_regclass(%s), 'pg_class')"


@dataclass(frozen=True)
class Restored:
    """What `restore_backup` did.

    Attributes:
        damaged: Names of files of raw calls that the place does not have as they were written.
        erasures: Requests of persons who were forgotten after the backup was made.
        unset: Variables that the installation went by, and that are not set.
        missing: Files with secrets that the installation had, and that are not there.
    """

    backup: Backup
    files: int
    raw_files: int
    damaged: tuple[str, ...]
    erasures: tuple[str, ...]
    unset: tuple[str, ...]
    missing: tuple[Path, ...]


@dataclass(frozen=True)
class _Work:
    """What is to be restored, and where to.

    Attributes:
        raw: Of raw calls, all that the backup has; nothing where they are left alone.
        store: Of raw calls; None where they are left alone.
        there: Names of the files of raw calls that an interrupted restoring has written.
    """

    place: Place
    backup: Backup
    files: tuple[FilePart, ...]
    raw: list[RawFile]
    store: RawStore | None
    there: set[str]
    say: Callable[[str], None]


def restore_backup(
    place: Place,
    backup: Backup,
    *,
    find_url: Callable[[], str],
    open_store: Callable[[], RawStore],
    left: frozenset[str] = frozenset(),
    say: Callable[[str], None] = lambda _: None,
) -> Restored:
    """Restore a backup; what it would overwrite is looked for before anything is changed.

    Args:
        place: Where it lies.
        backup: Its document.
        find_url: Gives the database's address, and starts the embedded one.
        open_store: Gives the store of raw calls.
        left: What was not lost and is left as it is: `database`, `raw`, `files`.
        say: Is told what is being done.

    Raises:
        BackupError: Something is there already, or the backup is damaged.
        DatabaseError: The database does not take it; it is as it was.
        SchemaError: The backup is of a newer version of this program.
        StoreError: Raw calls cannot be written.
    """
    check_known(place.name, backup.schema)
    is_resumed = _is_resumed(backup)
    store = None if "raw" in left else open_store()
    work = _Work(
        place,
        backup,
        () if "files" in left else backup.files,
        [] if store is None else read_raw_list(place, backup),
        store,
        set() if store is None else {store.name(path) for path in store.list_files()},
        say,
    )
    if not is_resumed:
        _check_nothing_there(work)
    elif store is not None:
        for source in store.list_sources():
            for half in store.list_unfinished(source):
                store.delete(half)
    if "database" in left:
        _mark(backup)
        damaged = _restore_files(work)
    else:
        url = find_url()
        damaged = _restore_all(work, url)
        _migrate(url, backup, say)
    (home() / _MARKER).unlink(missing_ok=True)
    return Restored(
        backup,
        len(work.files),
        len(work.raw) - len(damaged),
        tuple(damaged),
        _list_newer_erasures(place, backup),
        tuple(name for name in backup.variables if not _is_set(name)),
        tuple(
            file for file in list_secrets() if file.name in backup.left_out and not file.exists()
        ),
    )


def _is_set(variable: str) -> bool:
    """Whether a variable has a value, be it in the file that holds its secret."""
    try:
        return bool(os.environ.get(variable) or read_secret(variable))
    except UnreadableSecretError:
        return False


def _is_resumed(backup: Backup) -> bool:
    """Whether an earlier restoring of this backup was interrupted here."""
    file = home() / _MARKER
    if not file.exists():
        return False
    name = json.loads(file.read_bytes() or b"{}").get("backup", "")
    if name and name != backup.name:
        raise BackupError(
            tr(
                "The restoring of another backup, {name}, was interrupted here. Go on with it: "
                "callkeeper restore … --backup {name}; or delete {home} and begin anew.",
                name=name,
                home=home(),
            )
        )
    return bool(name)


def _mark(backup: Backup) -> None:
    file = home() / _MARKER
    _write(file, json.dumps({"backup": backup.name}).encode())


def _find_target(part: FilePart) -> Path:
    match part.group:
        case "spool":
            return home() / "spool" / part.name
        case "project":
            return project_root() / part.name
        case "defs":
            return _find_defs() / part.name


def _find_defs() -> Path:
    """Return the sources' folder, of a project that may not be there yet."""
    named = os.environ.get("CALLKEEPER_DEFS")
    if named:
        return project_root() / Path(named).expanduser()
    project = find_project()
    return project.defs if project else project_root() / "defs"


def _check_nothing_there(work: _Work) -> None:
    """See that no file would be overwritten by another one, nor raw calls be mixed.

    Raises:
        BackupError: One would.
    """
    for part in work.files:
        target = _find_target(part)
        if target.exists() and hash_content(target.read_bytes()) != part.sha256:
            raise BackupError(
                tr(
                    "{target} is there already, and is another one than the backup's. Nothing was "
                    "changed. Restore into an empty folder, move the file away, or leave all "
                    "files as they are: --leave files",
                    target=target,
                )
            )
    spool = home() / "spool"
    has_spool = any(part.group == "spool" for part in work.files)
    if has_spool and spool.is_dir() and any(spool.iterdir()):
        raise BackupError(
            tr(
                "Webhooks wait in {spool}. Nothing was changed. Let the receiver store them, or "
                "restore into an empty home (CALLKEEPER_HOME).",
                spool=spool,
            )
        )
    if work.there and work.store is not None:
        raise BackupError(
            tr(
                "There are raw calls already: {count} files at {url}. Nothing was changed. Name "
                "an empty place (CALLKEEPER_RAW_URL, CALLKEEPER_HOME), or leave them as they are: "
                "--leave raw",
                count=len(work.there),
                url=work.store.url,
            )
        )


def _restore_all(work: _Work, url: str) -> list[str]:
    backup = work.backup
    with connect(url) as target, explaining(url, tr("The backup could not be restored into")):
        is_filled = _is_filled(target, backup)
        if not is_filled:
            check_empty(target, url, backup.relations)
        _mark(backup)
        if not is_filled:
            _fill(target, work.place, backup, work.say)
        _check_dagster(target, backup)
        damaged = _restore_files(work)
        target.commit()
    return damaged


def _check_dagster(target: "Connection", backup: Backup) -> None:
    """See that the installed Dagster knows its tables, before they are there for good.

    Raises:
        DatabaseError: They are a newer one's.
    """
    if "dagster" in backup.schemas:
        from callkeeper_assets.dagster_ext.upgrading import find_pending  # noqa: PLC0415 -- 2 s

        find_pending(target)


def _migrate(url: str, backup: Backup, say: Callable[[str], None]) -> None:
    """Bring tables, and Dagster's, to this version."""
    say(tr("Looking whether the tables are this version's."))
    ensure_schema(url)
    if "dagster" in backup.schemas:
        from callkeeper_assets.dagster_ext.upgrading import upgrade_storage  # noqa: PLC0415 -- 2 s

        set_dagster_home()
        upgrade_storage(url)


def _is_filled(target: "Connection", backup: Backup) -> bool:
    row = target.execute(_REMARK, (VERSION_TABLE,)).fetchone()
    return row == (_build_remark(backup),)


def _build_remark(backup: Backup) -> str:
    return f"Restored from the backup {backup.name}"


def _fill(target: "Connection", place: Place, backup: Backup, say: Callable[[str], None]) -> None:
    say(tr("Restoring the database."))
    for schema in backup.schemas:
        if schema != PUBLIC:
            # Empty, as it has nothing of the backup's; its making is in the statements.
            target.execute(sql.SQL("DROP SCHEMA IF EXISTS {}").format(sql.Identifier(schema)))
    make_relations(target, read_part(place, backup, backup.before))
    for table in backup.tables:
        _fill_table(target, place, backup, table)
    for one in backup.sequences:
        set_sequence(target, SequenceState(one.schema, one.name, one.value, one.is_called))
    make_relations(target, read_part(place, backup, backup.after))
    # The statements have left no search path.
    there = {one.schema for one in backup.tables if one.name == VERSION_TABLE}
    schema = INTERNAL if INTERNAL in there else PUBLIC  # another may have a copy of somebody's
    remark = sql.SQL("COMMENT ON TABLE {} IS {}").format(
        sql.Identifier(schema, VERSION_TABLE), sql.Literal(_build_remark(backup))
    )
    target.execute(remark)
    target.execute(LET_OWNER_FIND)


def _fill_table(target: "Connection", place: Place, backup: Backup, table: TablePart) -> None:
    with place.reading(f"{backup.name}/{table.file}") as file:
        written = 0
        if table.columns:
            parts = decompressing(file)
            try:
                written = write_rows(target, (table.schema, table.name), table.columns, parts)
            except (psycopg.DataError, psycopg.IntegrityError):
                # Damaged bytes can be refused as rows before the hash at their end is compared.
                check_part(place, backup, table, file.drain().sha256)
                raise
        # Before the end of the transaction, whatever the server has made of it.
        check_part(place, backup, table, file.drain().sha256)
    if written != table.rows:
        raise BackupError(
            tr(
                "Of the {rows} rows of {schema}.{table} the database took {written}. Nothing was "
                "changed there; look for what keeps it from taking rows, as an event trigger does.",
                rows=table.rows,
                schema=table.schema,
                table=table.name,
                written=written,
            )
        )


def _restore_files(work: _Work) -> list[str]:
    """Write files; return the names of those of raw calls that are damaged."""
    for part in work.files:
        content = read_part(work.place, work.backup, part)
        target = _find_target(part)
        if not target.exists():
            _write(target, content)
    if work.raw:
        work.say(tr("Restoring raw calls."))
    with ThreadPoolExecutor(_COPIERS, "restore") as pool:
        whole = pool.map(lambda one: _restore_raw(work, one), work.raw)
        return [one.name for one, is_whole in zip(work.raw, whole, strict=True) if not is_whole]


def _restore_raw(work: _Work, file: RawFile) -> bool:
    if file.name in work.there:
        return True  # of a restoring that was interrupted
    content = work.place.read(name_blob(file.sha256))
    if content is None or hash_content(content) != file.sha256:
        return False
    assert work.store is not None  # noqa: S101 -- there would be no file to be restored
    work.store.write_file(file.name, content)
    return True


def _write(target: Path, content: bytes) -> None:
    """Write a file that only its owner can read if it is the home's, whole or not at all."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_name(f".{target.name}.restoring")
        mode = 0o600 if target.is_relative_to(home()) else 0o644
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(target)
    except OSError as error:
        raise BackupError(
            tr(
                "{target} cannot be written: {problem}. Type the command again when that is "
                "mended; it goes on where it ended.",
                target=target,
                problem=error.strerror or error,
            )
        ) from error


def _list_newer_erasures(place: Place, backup: Backup) -> tuple[str, ...]:
    """Return the requests that backups made after this one know, and this one does not."""
    newer = (one for one in list_backups(place) if one.made_at > backup.made_at)
    return tuple(
        sorted({request for one in newer for request in one.erasures} - {*backup.erasures})
    )
