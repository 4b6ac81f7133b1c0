"""`callkeeper backup`, `restore` and `verify-backup`: words around `callkeeper_assets.backup`."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final

import typer

from callkeeper_assets.cli.console import (
    FAILED,
    UsageProblemError,
    print_error,
    print_json,
    print_note,
    print_text,
    print_warning,
)
from callkeeper_assets.config.errors import say_count
from callkeeper_assets.home import (
    configured_backup_url,
    configured_database_url,
    home,
    project_root,
    raw_url,
)
from callkeeper_assets.language import tr

if TYPE_CHECKING:
    from callkeeper_assets.backup.place import Place
    from callkeeper_assets.backup.records import Backup
    from callkeeper_assets.backup.restoring import Restored


# Of files that are named.
_MOST_SHOWN: Final = 5


class LeftPart(StrEnum):
    """What a restoring may leave as it is."""

    DATABASE = "database"
    RAW = "raw"
    FILES = "files"


_Place = Annotated[
    str | None,
    typer.Argument(
        help="Where backups lie: a folder, or an fsspec URL such as s3://bucket/backups. "
        "Default: CALLKEEPER_BACKUP_URL."
    ),
]
_Name = Annotated[
    str | None,
    typer.Option("--backup", help="The backup's name, as --list shows it. Default: the newest."),
]
_AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON document in place of the text.")
]


def _open_place(url: str | None) -> "Place":
    from callkeeper_assets.backup.place import Place  # noqa: PLC0415

    given = url or configured_backup_url()
    if given is None:
        raise UsageProblemError(
            tr("Say where backups lie, a folder or a URL, or set CALLKEEPER_BACKUP_URL.")
        )
    return Place(given)


def _describe(backup: "Backup") -> dict[str, object]:
    return {
        "name": backup.name,
        "made_at": backup.made_at.isoformat(),
        "version": backup.version,
        "schema": backup.schema,
        "tables": len(backup.tables),
        "rows": backup.rows,
        "database_bytes": sum(one.size for one in backup.tables),
        "raw_files": backup.raw_files,
        "raw_bytes": backup.raw_bytes,
        "files": len(backup.files),
    }


def _say_content(backup: "Backup") -> str:
    return tr(
        "{tables}, {rows}, {raw_files} of raw calls, {files}",
        tables=say_count(len(backup.tables), "table"),
        rows=say_count(backup.rows, "row"),
        raw_files=say_count(backup.raw_files, "file"),
        files=say_count(len(backup.files), "other file"),
    )


def backup(
    target: _Place = None,
    *,
    keep: Annotated[
        int | None,
        typer.Option(min=1, help="Keep so many of the newest, delete older ones. Default: all."),
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="List the backups, and make none.")] = False,
    as_json: _AsJson = False,
) -> None:
    """Back up database, raw calls, waiting webhooks and sources, while everything runs.

    Raw calls that are there already are not copied again. Secrets are left out: `.env` and
    `erasures.key`.
    """
    place = _open_place(target)
    if list_:
        _list(place, as_json=as_json)
        return
    from callkeeper_assets.backup.making import make_backup  # noqa: PLC0415
    from callkeeper_assets.backup.place import BackupError  # noqa: PLC0415
    from callkeeper_assets.postgres.url import database_url, is_embedded  # noqa: PLC0415
    from callkeeper_assets.raw.store import RawStore  # noqa: PLC0415

    if is_embedded() and not (home() / "postgres").exists():
        # Asking for it would make it.
        raise BackupError(
            tr("There is no database in {home} yet: nothing is to be backed up.", home=home())
        )
    made = make_backup(place, database_url(), RawStore(raw_url()), keep=keep, say=print_note)
    if as_json:
        print_json(
            {
                "ok": not made.problem,
                "place": place.name,
                "backup": _describe(made.backup),
                "raw_files_copied": made.copied_files,
                "raw_bytes_copied": made.copied_bytes,
                "deleted": list(made.deleted),
                "problem": made.problem,
            }
        )
    else:
        print_text(
            tr(
                "Backed up to {place}, {backup}: {content}.",
                place=place.name,
                backup=made.backup.name,
                content=_say_content(made.backup),
            )
        )
        print_text(
            tr(
                "Copied of raw calls: {files}, {size:,.1f} MB. Deleted: {deleted}.",
                files=say_count(made.copied_files, "file"),
                size=made.copied_bytes / 1e6,
                deleted=say_count(len(made.deleted), "old backup"),
            )
        )
    if made.problem:
        print_error(made.problem)
        raise typer.Exit(FAILED)


def _list(place: "Place", *, as_json: bool) -> None:
    from callkeeper_assets.backup.records import list_backups  # noqa: PLC0415

    found = list_backups(place)
    if as_json:
        print_json({"place": place.name, "backups": [_describe(one) for one in found]})
        return
    for one in found:
        print_text(
            tr(
                "{backup}  {content}, version {version}",
                backup=one.name,
                content=_say_content(one),
                version=one.version,
            )
        )
    if not found:
        print_text(tr("There is no backup at {place}.", place=place.name))


def _say_where(chosen: "Backup") -> str:
    """Say what is restored, and where each part of it goes."""
    from callkeeper_assets.postgres.url import describe, normalise_url  # noqa: PLC0415

    configured = configured_database_url()
    database = describe(normalise_url(configured)) if configured else tr("the embedded one")
    return tr(
        "Restoring {backup}: the project into {project}, the home into {home}, the database into "
        "{database}, raw calls into {raw}.",
        backup=chosen.name,
        project=project_root(),
        home=home(),
        database=database,
        raw=raw_url(),
    )


def restore(
    source: _Place = None,
    *,
    name: _Name = None,
    leave: Annotated[
        list[LeftPart] | None,
        typer.Option(help="What was not lost, and is left as it is; may be given several times."),
    ] = None,
    as_json: _AsJson = False,
) -> None:
    """Restore a backup into an empty folder, home and database, and bring it to this version.

    What is there already is never overwritten. Interrupted, it is typed again, and goes on.
    """
    from callkeeper_assets.backup.records import read_backup  # noqa: PLC0415
    from callkeeper_assets.backup.restoring import restore_backup  # noqa: PLC0415
    from callkeeper_assets.postgres.url import database_url  # noqa: PLC0415
    from callkeeper_assets.raw.store import RawStore  # noqa: PLC0415

    place = _open_place(source)
    chosen = read_backup(place, name)
    print_note(_say_where(chosen))
    done = restore_backup(
        place,
        chosen,
        find_url=database_url,
        open_store=lambda: RawStore(raw_url()),
        left=frozenset(one.value for one in leave or ()),
        say=print_note,
    )
    if as_json:
        print_json(
            {
                "ok": not done.damaged,
                "place": place.name,
                "backup": _describe(chosen),
                "files": done.files,
                "raw_files": done.raw_files,
                "raw_files_damaged": list(done.damaged),
                "erasures_to_repeat": list(done.erasures),
                "variables_to_set": list(done.unset),
                "files_to_put_back": [str(file) for file in done.missing],
            }
        )
    else:
        print_text(tr("Restored: {content}.", content=_say_content(chosen)))
    _say_what_is_left_to_do(done)
    if not as_json:
        print_text(tr("Next:        callkeeper check"))


def _say_what_is_left_to_do(done: "Restored") -> None:
    """Say what a person has to do; end the command if something is missing."""
    if done.unset:
        print_warning(
            tr("Set these variables, or put them into .env: {names}", names=", ".join(done.unset))
        )
    if done.missing:
        print_warning(
            tr(
                "These were left out of the backup, as they are secret; put them back from where "
                "you keep them: {names}",
                names=", ".join(map(str, done.missing)),
            )
        )
    if done.erasures:
        print_warning(
            tr(
                "These requests were carried out after this backup was made, so what was erased "
                "is back: type `callkeeper forget` again for {requests}",
                requests=", ".join(done.erasures),
            )
        )
    if done.damaged:
        shown = ", ".join(done.damaged[:_MOST_SHOWN])
        shown += ", …" if len(done.damaged) > _MOST_SHOWN else ""
        print_error(
            tr(
                "{files} of raw calls could not be restored: {shown}. All else is there. The "
                "tables have these days; load them again where reports or `callkeeper rebuild` "
                "need them: callkeeper load",
                files=say_count(len(done.damaged), "file"),
                shown=shown,
            )
        )
        raise typer.Exit(FAILED)


def verify_backup(
    source: _Place = None,
    *,
    name: _Name = None,
    as_json: _AsJson = False,
) -> None:
    """Read all of a backup, and compare it with what was written. Changes nothing."""
    from callkeeper_assets.backup.records import read_backup  # noqa: PLC0415
    from callkeeper_assets.backup.verifying import verify_backup as verify  # noqa: PLC0415

    place = _open_place(source)
    chosen = read_backup(place, name)
    problems = list(verify(place, chosen, print_note))
    if as_json:
        print_json(
            {
                "ok": not problems,
                "place": place.name,
                "backup": _describe(chosen),
                "problems": problems,
            }
        )
    elif not problems:
        print_text(
            tr("{backup} is whole: {content}.", backup=chosen.name, content=_say_content(chosen))
        )
    for problem in problems:
        print_error(problem)
    if problems:
        raise typer.Exit(FAILED)
