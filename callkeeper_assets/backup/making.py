"""Makes a backup while the installation works, and deletes old ones.

The order is what keeps it whole. What waits in the spool first: it may be in the database a moment
later, and what is in both is stored once. Then the database, as it is at one moment. Then raw
calls, which a load writes before its rows: a day that is newer there than in the tables is loaded
from them, while one that was older would undo what is loaded.
"""

import re
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec

from callkeeper_assets.backup.place import (
    BackupError,
    Place,
    Written,
    compressing,
    hash_content,
)
from callkeeper_assets.backup.records import (
    BLOB,
    DOCUMENT,
    FORMAT,
    RAW,
    RAW_LIST,
    Backup,
    FilePart,
    Part,
    RawFile,
    SequencePart,
    TablePart,
    decode_backup,
    encode_backup,
    find_newest,
    list_folders,
    list_secrets,
    name_backup,
    name_blob,
    read_moment,
    read_raw_list,
)
from callkeeper_assets.config.loading import defs_folder
from callkeeper_assets.home import dagster_file, home, project_root
from callkeeper_assets.language import tr
from callkeeper_assets.postgres.locks import BACKUP_LOCK, Lock
from callkeeper_assets.postgres.snapshots import (
    Connection,
    Relation,
    Snapshot,
    list_own_schemas,
)
from callkeeper_assets.postgres.url import connect, is_embedded
from callkeeper_assets.raw.store import RawStore
from callkeeper_assets.warehouse.migrate import read_revision
from callkeeper_assets.webhooks.spool import Spool, read_spooled

# Of a project of one's own; git has a checkout's.
PROJECT_FILES: Final = (
    "pyproject.toml",
    "definitions.py",
    "dagster.yaml",
    "workspace.yaml",
    "defs.schema.json",
    "README.md",
    ".env.example",
    ".gitignore",
)
_VARIABLE: Final = re.compile(rb"\benv:\s*[\"']?([A-Za-z_]\w*)")
_ERASURES: Final = "SELECT DISTINCT request_id FROM callkeeper_erasures ORDER BY 1"
# Waiting for an object store is most of the time.
_COPIERS: Final = 8
_SPOOLED_AT_ONCE: Final = 500
# Nobody else's backup, of another installation in one place, takes as long.
_UNFINISHED_SEC: Final = 86_400.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class Made:
    """What `make_backup` did.

    Attributes:
        copied_files: Of raw calls, those that the place did not have.
        copied_bytes: Of these.
        deleted: Names of old backups that are gone.
        problem: Why old backups are still there; empty if all is well.
    """

    backup: Backup
    copied_files: int
    copied_bytes: int
    deleted: tuple[str, ...] = ()
    problem: str = ""


def make_backup(
    place: Place, url: str, store: RawStore, *, keep: int | None = None, say: Say = lambda _: None
) -> Made:
    """Make a backup; then delete old ones, and raw calls that no backup has any more.

    Args:
        place: Where to.
        url: Of the database.
        store: Of raw calls.
        keep: How many of the newest stay; None deletes none.
        say: Is told what is being done.

    Raises:
        BackupError: The place cannot be used, or another backup is under way.
        DatabaseError: The database cannot be read.
        StoreError: Raw calls cannot be read.
    """
    _check_place(place)
    with Lock(url, "the backup") as lock:
        if not lock.attempt(BACKUP_LOCK):
            raise BackupError(
                tr("Another backup of this installation is under way: wait for its end.")
            )
        previous = find_newest(place)
        name = _choose_name(place)
        try:
            made = _make(place, name, url, store, previous=previous, say=say)
        except BaseException:
            # Without its document it is none; what is left is deleted by the next one, if not here.
            with suppress(BackupError):
                place.delete_folder(name)
            raise
        try:
            return replace(made, deleted=tuple(_delete_old(place, keep)))
        except BackupError as error:
            return replace(made, problem=tr("Old backups were not deleted: {error}", error=error))


def _check_place(place: Place) -> None:
    folder = place.folder
    if folder is None:
        return
    resolved = folder.resolve()
    for kept in (home(), home() / "raw"):
        if resolved.is_relative_to(kept.resolve()):
            raise BackupError(
                tr(
                    "Backups at {place} would lie in the home that they are of ({home}): what "
                    "takes the one takes the other. Name a folder on another disk, or a URL.",
                    place=place.name,
                    home=home(),
                )
            )


def _choose_name(place: Place) -> str:
    there = list_folders(place)
    moment = datetime.now(UTC)
    while (name := name_backup(moment)) in there or (there and name < there[-1]):
        # The clock was put back, or the last one was made in this second.
        moment = max(moment, read_moment(there[-1])) + timedelta(seconds=1)
    return name


def _make(
    place: Place, name: str, url: str, store: RawStore, *, previous: Backup | None, say: Say
) -> Made:
    files = list(_copy_spool(place, name))
    say(tr("Copying the database."))
    database = _copy_database(place, name, url)
    settings = list(_list_settings())
    files += [
        _copy_file(place, name, group, relative, content) for group, relative, content in settings
    ]
    variables = {
        found.decode()
        for group, _, text in settings
        for found in (_VARIABLE.findall(text) if group == "defs" else ())
    }
    say(tr("Copying raw calls."))
    raw, copied = _copy_raw(place, store, previous)
    with place.writing(f"{name}/{RAW_LIST}") as file, compressing(file) as lines:
        lines.writelines(msgspec.json.encode(one) + b"\n" for one in raw)
    place.sync()
    backup = msgspec.structs.replace(
        database,
        files=tuple(files),
        raw=_describe(RAW_LIST, file.describe()),
        raw_files=len(raw),
        raw_bytes=sum(one.size for one in raw),
        variables=tuple(sorted(variables | _read_env_names())),
        left_out=tuple(file.name for file in list_secrets() if file.exists()),
    )
    place.write(f"{name}/{DOCUMENT}", encode_backup(backup))
    place.sync()
    return Made(backup, len(copied), sum(copied))


def _describe(file: str, written: Written) -> Part:
    return Part(file=file, size=written.size, sha256=written.sha256)


def _copy_file(place: Place, name: str, group: str, relative: str, content: bytes) -> FilePart:
    file = f"files/{group}/{relative}"
    written = place.write(f"{name}/{file}", content)
    return msgspec.convert(
        {"file": file, **written._asdict(), "group": group, "name": relative}, FilePart
    )


def _copy_spool(place: Place, name: str) -> Iterator[FilePart]:
    """Copy what waits in the spools of all receivers, as one spool."""
    with tempfile.TemporaryDirectory(prefix="callkeeper-backup-") as scratch:
        folder = Path(scratch)
        spool = Spool(folder)
        try:
            waiting = read_spooled(home() / "spool")
            while some := list(islice(waiting, _SPOOLED_AT_ONCE)):
                spool.append(some)
        finally:
            spool.close()
        for path in sorted(folder.iterdir()):
            yield _copy_file(place, name, "spool", path.name, path.read_bytes())


def _list_settings() -> Iterator[tuple[str, str, bytes]]:
    """Yield group, name and content of the project's files, and of the sources' folders."""
    root, defs = project_root(), defs_folder()
    for relative in PROJECT_FILES:
        file = root / relative
        # A checkout's are the program's own.
        if file.is_file() and (relative == "dagster.yaml" or (root / "definitions.py").is_file()):
            yield "project", relative, file.read_bytes()
    elsewhere = dagster_file()
    if not (root / "dagster.yaml").is_file() and elsewhere.is_file():
        yield "project", "dagster.yaml", elsewhere.read_bytes()
    for file in sorted(defs.rglob("*")) if defs.is_dir() else ():
        relative = file.relative_to(defs).as_posix()
        if file.is_file() and not file.name.startswith(".env") and "__pycache__" not in file.parts:
            yield "defs", relative, file.read_bytes()


def _read_env_names() -> set[str]:
    from dotenv import dotenv_values  # noqa: PLC0415 -- most installations have no such file

    return set(dotenv_values(project_root() / ".env"))


def _copy_database(place: Place, name: str, url: str) -> Backup:
    """Copy what the database holds at this moment; return the document as far as it is known."""
    with connect(url) as connection:
        schemas = () if is_embedded() else tuple(list_own_schemas(connection))
        revision = read_revision(connection)
        if revision is None:
            raise BackupError(tr("Nothing is loaded yet, so there is nothing to back up."))
        connection.rollback()
        snapshot = Snapshot(connection, url, schemas)
        made_at = datetime.now(UTC)
        before, after = (
            _describe(f"database/{file}.sql", place.write(f"{name}/database/{file}.sql", text))
            for file, text in (
                ("before", snapshot.dump("pre-data")),
                ("after", snapshot.dump("post-data")),
            )
        )
        numbered = enumerate(snapshot.tables, start=1)
        tables = [_copy_table(place, name, snapshot, one, number) for number, one in numbered]
        sequences = [SequencePart(**one._asdict()) for one in snapshot.read_sequences()]
        backup = Backup(
            name=name,
            format=FORMAT,
            version=version("callkeeper-assets"),
            schema=revision,
            server=connection.info.parameter_status("server_version") or "",
            dagster=version("dagster"),
            made_at=made_at,
            schemas=tuple(sorted({one.schema for one in snapshot.relations})),
            before=before,
            after=after,
            relations=tuple((one.schema, one.name) for one in snapshot.relations),
            tables=tuple(tables),
            sequences=tuple(sequences),
            files=(),
            raw=before,
            raw_files=0,
            raw_bytes=0,
            variables=(),
            left_out=(),
            erasures=_list_erasures(connection, snapshot),
        )
        connection.rollback()
        return backup


def _list_erasures(connection: Connection, snapshot: Snapshot) -> tuple[str, ...]:
    if not any(one.name == "callkeeper_erasures" for one in snapshot.tables):
        return ()  # an older version's
    return tuple(str(one) for (one,) in connection.execute(_ERASURES).fetchall())


def _copy_table(
    place: Place, name: str, snapshot: Snapshot, table: Relation, number: int
) -> TablePart:
    columns = snapshot.list_columns(table)
    file = f"database/{number:04}.{table.name[:60]}.zst"
    with (
        place.writing(f"{name}/{file}") as written,
        compressing(written) as compressed,
        snapshot.reading(table, columns) as rows,
    ):
        compressed.writelines(rows if columns else ())
    return TablePart(
        file=file,
        **written.describe()._asdict(),
        schema=table.schema,
        name=table.name,
        columns=tuple(columns),
        rows=rows.count,
    )


def _copy_raw(
    place: Place, store: RawStore, previous: Backup | None
) -> tuple[list[RawFile], list[int]]:
    """Copy the contents of raw calls that the place does not have; return all, and sizes copied.

    A file that the last backup has with the same stamp is not read.
    """
    there = place.list_files(RAW)
    known: dict[str, RawFile] = {}
    if previous is not None:
        with suppress(BackupError):  # all are read, then
            known = {one.name: one for one in read_raw_list(place, previous)}
    copied: list[int] = []

    def copy(item: tuple[str, str]) -> RawFile | None:
        path, stamp = item
        relative = store.name(path)
        old = known.get(relative)
        if old and stamp and old.stamp == stamp and there.get(name_blob(old.sha256)) == old.size:
            return old
        # A file that is being written, or was by a process that is gone.
        content = b"" if path.rpartition("/")[2].startswith(".") else store.read_file(path)
        if not content:
            return None  # or it was deleted meanwhile
        sha256 = hash_content(content)
        blob = name_blob(sha256)
        if there.get(blob) != len(content):
            place.write(blob, content)
            there[blob] = len(content)
            copied.append(len(content))
        return RawFile(name=relative, size=len(content), sha256=sha256, stamp=stamp)

    with ThreadPoolExecutor(_COPIERS, "backup") as pool:
        files = list(filter(None, pool.map(copy, store.list_stamps().items())))
    return files, copied


def _delete_old(place: Place, keep: int | None) -> list[str]:
    """Delete what was never complete, old backups, and contents that none has any more."""
    now = time.time()
    complete: dict[str, Backup] = {}
    for name in list_folders(place):
        content = place.read(f"{name}/{DOCUMENT}")
        if content is not None:
            # One that is damaged ends this: what it needs is not known.
            complete[name] = decode_backup(content, name)
        elif now - read_moment(name).timestamp() > _UNFINISHED_SEC:
            place.delete_folder(name)
    deleted = sorted(complete)[:-keep] if keep else []
    for name in deleted:
        # From then on it is none.
        place.delete(f"{name}/{DOCUMENT}")
        place.delete_folder(name)
        del complete[name]
    _delete_contents(place, complete if deleted else None, now)
    return deleted


def _delete_contents(place: Place, complete: dict[str, Backup] | None, now: float) -> None:
    """Delete what killed processes were writing, and contents that no backup has, if all are known.

    A younger one may be of a backup that another installation is making here.
    """
    used = {
        one.sha256 for backup in (complete or {}).values() for one in read_raw_list(place, backup)
    }
    for blob in place.list_files(RAW):
        named = BLOB.fullmatch(blob)
        is_unused = complete is not None and named is not None and named[1] not in used
        is_half = blob.rpartition("/")[2].startswith(".")
        if (is_unused or is_half) and place.find_age(blob, now) > _UNFINISHED_SEC:
            place.delete(blob)
