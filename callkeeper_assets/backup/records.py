"""What a backup's document says, which is written last, and by which a backup is one.

It holds hashes of everything beside it, and one of itself. Names are those of `backup.place`.
"""

import hashlib
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

import msgspec

from callkeeper_assets.backup.place import (
    BackupError,
    DamagedError,
    Place,
    decompressing,
    hash_content,
)
from callkeeper_assets.home import home, project_root
from callkeeper_assets.language import tr
from callkeeper_assets.personal_data.erasures import KEY_FILE

FORMAT: Final = 1
DOCUMENT: Final = "backup.json"
RAW_LIST: Final = "raw.jsonl.zst"
RAW: Final = "raw"
_STAMP: Final = re.compile(r"\d{4}-\d\d-\d\dT\d{6}Z")
_STAMP_FORMAT: Final = "%Y-%m-%dT%H%M%SZ"
BLOB: Final = re.compile(r"raw/[0-9a-f]{2}/([0-9a-f]{64})")

# Of what a file is: of the sources' folder, of the project's, of the home's spool.
Group = Literal["defs", "project", "spool"]


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a backup.

    Attributes:
        file: Its name in the backup's folder.
        size: In bytes, as it lies there.
        sha256: Of it as it lies there.
    """

    file: str
    size: int
    sha256: str


class TablePart(Part, frozen=True, kw_only=True):
    """A table's rows."""

    schema: str
    name: str
    columns: tuple[str, ...]
    rows: int


class SequencePart(msgspec.Struct, frozen=True, kw_only=True):
    """Where a sequence stood."""

    schema: str
    name: str
    value: int
    is_called: bool


class FilePart(Part, frozen=True, kw_only=True):
    """A file of the installation; `name` is relative to what it is of."""

    group: Group
    name: str


class RawFile(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A file of raw calls.

    Attributes:
        name: Below the store's root.
        size: In bytes.
        sha256: Of its content, by which it is found among the place's.
        stamp: What the store said of it when it was read; another one tells that it has changed.
    """

    name: str
    size: int
    sha256: str
    stamp: str


class Backup(msgspec.Struct, frozen=True, kw_only=True):
    """A backup's document.

    Attributes:
        name: Its folder's.
        format: Of the document and of what lies beside it.
        version: Of the program that made it.
        schema: The newest migration of the tables.
        server: PostgreSQL's version.
        dagster: The installed Dagster's version.
        made_at: When the database's snapshot was taken, UTC.
        schemas: Of the database, those that are in it.
        before: Statements that make what has to be there before the rows.
        after: Statements that make indexes, keys and what else comes after them.
        relations: Schema and name of all tables, views and sequences.
        raw: The list of raw calls' files, each a line.
        raw_files: How many they are.
        raw_bytes: Of all of them.
        variables: Names of environment variables that the installation goes by; no values.
        left_out: Names of files with secrets that the installation had.
        erasures: Requests of persons who were forgotten.
        digest: Of the document with an empty one.
    """

    name: str
    format: int
    version: str
    schema: str
    server: str
    dagster: str
    made_at: datetime
    schemas: tuple[str, ...]
    before: Part
    after: Part
    relations: tuple[tuple[str, str], ...]
    tables: tuple[TablePart, ...]
    sequences: tuple[SequencePart, ...]
    files: tuple[FilePart, ...]
    raw: Part
    raw_files: int
    raw_bytes: int
    variables: tuple[str, ...]
    left_out: tuple[str, ...]
    erasures: tuple[str, ...]
    digest: str = ""

    @property
    def rows(self) -> int:
        """Of all tables."""
        return sum(one.rows for one in self.tables)

    @property
    def parts(self) -> tuple[Part, ...]:
        """All files in its folder but the document."""
        return (self.before, self.after, *self.tables, *self.files, self.raw)


def list_secrets() -> tuple[Path, ...]:
    """Return where the files are that are in no backup, as who has it should not have them.

    The keys of CallKeeper's accounts; and the key of erasures' records, without which nobody can
    find out from a backup's table whose numbers were erased.
    """
    return project_root() / ".env", home() / KEY_FILE


def name_backup(moment: datetime) -> str:
    """Name a backup by its moment, so that names are in the order of time."""
    return moment.astimezone(UTC).strftime(_STAMP_FORMAT)


def read_moment(name: str) -> datetime:
    """Return the moment that a name tells of."""
    return datetime.strptime(name, _STAMP_FORMAT).replace(tzinfo=UTC)


def encode_backup(backup: Backup) -> bytes:
    """Return the document, with its digest."""
    plain = msgspec.structs.replace(backup, digest="")
    digest = hashlib.sha256(msgspec.json.encode(plain)).hexdigest()
    document = msgspec.json.encode(msgspec.structs.replace(backup, digest=digest))
    return msgspec.json.format(document, indent=1)


def decode_backup(content: bytes, name: str) -> Backup:
    """Read a document.

    Raises:
        DamagedError: It is not what was written.
        BackupError: A newer version of this program has written it.
    """
    try:
        document = msgspec.json.decode(content)
        written = document["format"]
        if isinstance(written, int) and written > FORMAT:
            raise BackupError(
                tr(
                    "The backup {name} was made by a newer version of this program ({version}). "
                    "Install that version, or a newer one.",
                    name=name,
                    version=document.get("version"),
                )
            )
        backup = msgspec.convert(document, Backup)
    except (msgspec.DecodeError, KeyError, TypeError) as error:
        raise DamagedError(
            tr(
                "The backup {name} is damaged: {document} cannot be read ({error}).",
                name=name,
                document=DOCUMENT,
                error=error,
            )
        ) from error
    plain = msgspec.json.encode(msgspec.structs.replace(backup, digest=""))
    if hashlib.sha256(plain).hexdigest() != backup.digest:
        raise DamagedError(
            tr(
                "The backup {name} is damaged: {document} was changed.",
                name=name,
                document=DOCUMENT,
            )
        )
    return backup


def list_folders(place: Place) -> list[str]:
    """Return the names of all folders that are backups, or were to be some; the oldest first."""
    return [name for name in place.list_folders() if _STAMP.fullmatch(name)]


def list_backups(place: Place) -> list[Backup]:
    """Return the complete backups, the newest first; damaged ones are left out."""
    return list(_iterate_backups(place))


def find_newest(place: Place) -> Backup | None:
    """Return the newest complete backup; None if there is none."""
    return next(_iterate_backups(place), None)


def _iterate_backups(place: Place) -> Iterator[Backup]:
    for name in reversed(list_folders(place)):
        content = place.read(f"{name}/{DOCUMENT}")
        if content is not None:
            try:
                yield decode_backup(content, name)
            except DamagedError:
                continue


def read_backup(place: Place, name: str | None) -> Backup:
    """Return a backup by its name, the newest for None.

    Raises:
        BackupError: There is none, or it cannot be read.
    """
    if name is None:
        newest = find_newest(place)
        if newest is None:
            raise BackupError(
                tr(
                    "There is no backup at {place}. Name the folder or URL that `callkeeper "
                    "backup` was given.",
                    place=place.name,
                )
            )
        return newest
    content = place.read(f"{name}/{DOCUMENT}")
    if content is None:
        names = ", ".join(one.name for one in list_backups(place)[:5])
        raise BackupError(
            tr(
                "There is no backup {name} at {place}. The newest: {names}.",
                name=name,
                place=place.name,
                names=names or tr("none"),
            )
        )
    return decode_backup(content, name)


def name_blob(sha256: str) -> str:
    """Return where a content of raw calls lies."""
    return f"{RAW}/{sha256[:2]}/{sha256}"


def read_raw_list(place: Place, backup: Backup) -> list[RawFile]:
    """Return what a backup has of raw calls.

    Raises:
        DamagedError: The list is not what was written.
    """
    with place.reading(f"{backup.name}/{backup.raw.file}") as file:
        lines = b"".join(decompressing(file)).splitlines()
        check_part(place, backup, backup.raw, file.drain().sha256)
    return [msgspec.json.decode(line, type=RawFile) for line in lines]


def read_part(place: Place, backup: Backup, part: Part) -> bytes:
    """Return a file of a backup.

    Raises:
        DamagedError: It is not what was written.
    """
    content = place.read(f"{backup.name}/{part.file}")
    if content is None:
        raise DamagedError(
            tr(
                "{backup}/{file} is gone from the backups at {place}.",
                backup=backup.name,
                file=part.file,
                place=place.name,
            )
        )
    check_part(place, backup, part, hash_content(content))
    return content


def check_part(place: Place, backup: Backup, part: Part, sha256: str) -> None:
    """See that what was read is what was written.

    Raises:
        DamagedError: It is not.
    """
    if sha256 != part.sha256:
        raise DamagedError(
            tr(
                "{backup}/{file} at {place} is damaged: its content is not what was written. Take "
                "another backup.",
                backup=backup.name,
                file=part.file,
                place=place.name,
            )
        )
