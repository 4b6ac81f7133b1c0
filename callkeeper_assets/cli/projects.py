"""`callkeeper init` and `callkeeper add`: a project of the user's own, and a source in it.

Neither overwrites a file. A key is never printed, and no argument of a command: those are seen by
every user of the machine.
"""

import os
import shlex
import string
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from callkeeper_assets.callkeeper.records import ApiName
from callkeeper_assets.cli.console import (
    FAILED,
    UsageProblemError,
    print_error,
    print_json,
    print_note,
    print_text,
)
from callkeeper_assets.cli.project_files import PROJECT_FILES, is_own_project, render_file
from callkeeper_assets.language import current_language, tr

if TYPE_CHECKING:
    from callkeeper_assets.cli.checks import Finding
    from callkeeper_assets.config.source import Source
    from callkeeper_assets.config.source_template import NewSource

# What is pasted along with a key.
_AROUND_KEYS: Final = string.whitespace + "\"'`«»“”„"


def _write_files(folder: Path, lang: Literal["en", "ru"]) -> Iterator[tuple[str, bool]]:
    """Write what is missing; yield each file's name, and whether it was made."""
    for name in PROJECT_FILES:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            with file.open("x", encoding="utf-8") as opened:
                opened.write(render_file(name, folder, lang))
        except FileExistsError:
            yield name, False
        else:
            yield name, True


def _check_place(root: Path) -> None:
    """See that a project may be made in a folder, which is none yet.

    Raises:
        UsageProblemError: It may not; what is there, and what to do.
    """
    from callkeeper_assets.home import read_project  # noqa: PLC0415

    if root.exists() and not root.is_dir():
        raise UsageProblemError(
            tr("{root} is a file. Name a folder: callkeeper init FOLDER", root=root)
        )
    if (root / "pyproject.toml").exists():
        raise UsageProblemError(
            tr(
                "{root} is that of another project. Choose a folder of its own: callkeeper init "
                "FOLDER",
                root=root / "pyproject.toml",
            )
        )
    above = next(filter(None, map(read_project, root.parents)), None)
    if above:
        raise UsageProblemError(
            tr(
                "{root} lies in the project {project}. Add a source to that: callkeeper add NAME; "
                "or choose a folder outside of it for another project.",
                root=root,
                project=above.root,
            )
        )


def init(
    folder: Annotated[
        Path, typer.Argument(help="The project's folder; it is made if it is missing.")
    ] = Path(),
    *,
    lang: Annotated[
        Literal["en", "ru"] | None,
        typer.Option(help="The language of the project's README. Default: the command's own."),
    ] = None,
) -> None:
    """Make a project of your own: a folder for sources, settings and what is loaded.

    Files that are there stay as they are.
    """
    from callkeeper_assets.home import read_project  # noqa: PLC0415

    root = folder.expanduser().absolute()
    project = read_project(root)
    if project and not is_own_project(project):
        # The checkout, or a project of Dagster's that requires this product.
        print_text(
            tr(
                "{root} is a project already; its sources are in {defs}.",
                root=root,
                defs=project.defs,
            )
        )
        return
    if project is None:
        _check_place(root)
    try:
        files = list(_write_files(root, lang or current_language()))
    except OSError as error:
        print_error(
            tr(
                "{filename} cannot be made: {strerror}",
                filename=error.filename or root,
                strerror=error.strerror or error,
            )
        )
        raise typer.Exit(FAILED) from None
    made = [name for name, is_new in files if is_new]
    kept = [name for name, is_new in files if not is_new]
    what = tr("The project") if made else tr("A project already")
    print_text(f"{what}: {root}")
    if made:
        print_text(tr("Made:        {names}", names=", ".join(made)))
    if kept:
        print_text(tr("Left as is:  {names}", names=", ".join(kept)))
    names = sorted(file.parent.name for file in (root / "defs").glob("*/defs.yaml"))
    print_text(tr("Sources:     {names}", names=", ".join(names) or tr("none yet")))
    here = Path.cwd()
    shown = root.relative_to(here) if root.is_relative_to(here) else root
    way = "" if root == here else f"cd {shlex.quote(str(shown))} && "
    print_text(
        tr(
            "Next:        {way}callkeeper {command}",
            way=way,
            command="check" if names else "add main_office",
        )
    )


def _ask_for(new: "NewSource") -> "NewSource":
    """Ask a person for what the options have not said."""
    from dataclasses import replace  # noqa: PLC0415

    from callkeeper_assets.config.loading import suggest_start  # noqa: PLC0415

    if new.caption is None:
        new = replace(new, caption=typer.prompt(tr("Caption"), default=new.name))
    if new.time_zone is None:
        zone = typer.prompt(tr("Time zone, where days begin and end"), default="Europe/Moscow")
        new = replace(new, time_zone=zone)
    if new.start_date is None:
        first_day = suggest_start(datetime.now(UTC).date())
        start = typer.prompt(tr("The first day to load"), default=str(first_day))
        new = replace(new, start_date=start)
    if new.history_days is None:
        limit = typer.prompt(
            tr("Days back that your plan gives (a trial: 31; 0: unlimited)"), default=0, type=int
        )
        new = replace(new, history_days=limit or None)
    return new


def _read_key(variable: str, *, from_stdin: bool) -> tuple[str, bool]:
    """Return the key, and whether it has to be stored: it is not in the environment yet."""
    from callkeeper_assets.home import read_secret  # noqa: PLC0415

    if from_stdin:
        key, is_new = sys.stdin.readline(), True
    elif known := read_secret(variable):
        key, is_new = known, False
    elif sys.stdin.isatty():
        key, is_new = typer.prompt(tr("API key (not shown)"), hide_input=True), True
    else:
        raise UsageProblemError(
            tr(
                "There is no API key. Set {variable} in the environment or in .env, or give it by "
                "standard input: --key-stdin",
                variable=variable,
            )
        )
    if is_new:
        key = key.strip(_AROUND_KEYS)
    if not key:
        raise UsageProblemError(tr("The API key is empty."))
    return key, is_new


def _store_key(root: Path, variable: str, key: str) -> None:
    """Put the key into `.env`, which nobody but its owner can read from then on."""
    from dotenv import set_key  # noqa: PLC0415

    file = (root / ".env").resolve()
    file.touch(mode=0o600)
    file.chmod(0o600)
    set_key(file, variable, key, quote_mode="auto")


def _load_new(name: str) -> "Source":
    """Load a source that has just been written.

    Raises:
        UsageProblemError: It is refused.
    """
    from callkeeper_assets.cli.selection import choose_good_sources  # noqa: PLC0415

    (source,) = choose_good_sources([name])
    return source


def _write_checked(new: "NewSource", file: Path, key: str) -> "tuple[Source, list[Finding]]":
    """Write the file, ask CallKeeper whether the key is good, and of which API it is.

    Raises:
        UsageProblemError: The configuration is refused.
    """
    from dataclasses import replace  # noqa: PLC0415

    from callkeeper_assets.cli.source_checks import check_sources, find_api_of  # noqa: PLC0415
    from callkeeper_assets.config.source_template import render_source  # noqa: PLC0415

    file.write_text(render_source(new, file.parent), encoding="utf-8")
    source = _load_new(new.name)
    found = None if new.api else find_api_of(source, key)
    if found and found != (source.api, source.base_url):
        new = replace(new, api=found[0], base_url=found[1])
        file.write_text(render_source(new, file.parent), encoding="utf-8")
        source = _load_new(new.name)
    return source, check_sources([source])


def _add_checked(new: "NewSource", file: Path, key: str, *, is_new_key: bool) -> "list[Finding]":
    """Write the file and, if it is in no environment yet, the key; neither unless all is good.

    Raises:
        UsageProblemError: The configuration is refused.
    """
    from callkeeper_assets.home import project_root  # noqa: PLC0415

    if is_new_key:
        os.environ[new.key_variable] = key
    was_there = file.parent.is_dir()
    file.parent.mkdir(parents=True, exist_ok=True)
    is_good = False
    try:
        added, findings = _write_checked(new, file, key)
        is_taken = not any(finding.state == "bad" for finding in findings)
        if is_taken and is_new_key:
            _store_key(project_root(), added.api_key_env, key)
        is_good = is_taken
    finally:
        if not is_good:
            file.unlink(missing_ok=True)
            if not was_there:
                file.parent.rmdir()
    return findings


def _show_added(new: "NewSource", file: Path, findings: "list[Finding]", *, as_json: bool) -> None:
    """Print what was found; end the command if the source was not added."""
    from dataclasses import asdict  # noqa: PLC0415

    from callkeeper_assets.cli.checks import print_findings  # noqa: PLC0415

    is_good = file.exists()
    if as_json:
        print_json(
            {
                "ok": is_good,
                "source": new.name,
                "file": str(file) if is_good else None,
                "key_variable": new.key_variable,
                "findings": [asdict(finding) for finding in findings],
            }
        )
    else:
        print_findings(findings)
    if not is_good:
        print_error(tr("Nothing was written. Correct that, and type the command again."))
        raise typer.Exit(FAILED)


def _choose_file(name: str) -> Path:
    from callkeeper_assets.config.loading import FILE_NAME, defs_folder, find_name_problem  # noqa: PLC0415

    problem = find_name_problem(name, is_new=True)
    if problem:
        raise UsageProblemError(problem)
    file = defs_folder() / name / FILE_NAME
    if file.parent.exists() and any(file.parent.iterdir()):
        raise UsageProblemError(
            tr("Source '{name}' is there already: {file}", name=name, file=file)
        )
    return file


def add(
    source: Annotated[
        str, typer.Argument(help="The new source's name: lower-case Latin letters, digits, '_'.")
    ],
    *,
    caption: Annotated[
        str | None, typer.Option(help="What people call it. Default: its name.")
    ] = None,
    time_zone: Annotated[
        str | None, typer.Option(help="Where days begin and end. Default: Europe/Moscow.")
    ] = None,
    start_date: Annotated[
        str | None,
        typer.Option(help="The first day to load. Default: 1 January of last year."),
    ] = None,
    history_days: Annotated[
        int | None,
        typer.Option(min=1, help="Days back that your plan gives. Default: unlimited."),
    ] = None,
    api: Annotated[
        ApiName | None,
        typer.Option(help="Which of CallKeeper's APIs. Default: the one that takes the key."),
    ] = None,
    base_url: Annotated[
        str | None, typer.Option(help="The API's address, where it is not CallKeeper's own.")
    ] = None,
    key_env: Annotated[
        str | None,
        typer.Option(help="The variable of the API key. Default: SOURCE_API_KEY, in capitals."),
    ] = None,
    key_stdin: Annotated[
        bool, typer.Option("--key-stdin", help="Read the API key from standard input.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document in place of the table.")
    ] = False,
) -> None:
    """Add a source: write its defs.yaml, once CallKeeper has taken its API key.

    On a terminal, it asks for what no option says. The key is taken from its variable if that is
    set; else it is asked for, or read from standard input, and stored in .env.
    """
    from callkeeper_assets.config.source_template import NewSource  # noqa: PLC0415

    file = _choose_file(source)
    new = NewSource(source, caption, key_env, api, base_url, time_zone, start_date, history_days)
    key, is_new_key = _read_key(new.key_variable, from_stdin=key_stdin)
    if sys.stdin.isatty():
        new = _ask_for(new)
    try:
        findings = _add_checked(new, file, key, is_new_key=is_new_key)
    except OSError as error:
        print_error(
            tr(
                "{filename} cannot be written: {strerror}. The source was not added.",
                filename=error.filename or file,
                strerror=error.strerror or error,
            )
        )
        raise typer.Exit(FAILED) from None
    _show_added(new, file, findings, as_json=as_json)
    _say_next(new, file, is_new_key=is_new_key)


def _say_next(new: "NewSource", file: Path, *, is_new_key: bool) -> None:
    stored = ".env" if is_new_key else tr("the environment")
    print_note(
        tr(
            "Written: {file}. The key is in {stored}, as {key_variable}.",
            file=file,
            stored=stored,
            key_variable=new.key_variable,
        )
    )
    day = date.today() - timedelta(days=1)  # noqa: DTZ011 -- an example
    print_note(
        tr("Next:    callkeeper load {source} --from {day} --to {day}", source=new.name, day=day)
    )
