"""What `forget`, `export` and `erasures` share: the number that was typed, the sources, the run."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from callkeeper_assets.cli.console import UsageProblemError
from callkeeper_assets.cli.selection import describe_broken
from callkeeper_assets.config.errors import ConfigError
from callkeeper_assets.config.loading import load_sources
from callkeeper_assets.personal_data.requests import check_number

if TYPE_CHECKING:
    from callkeeper_assets.cli.workers import SourceOutcome

FROM_INPUT: Final = "-"
# In place of a source's name: a client is looked for in all of them.
ALL: Final = "all-sources"


def read_number(typed: str) -> str:
    """Return the number that was typed, or comes by standard input, in its one form.

    Raises:
        UsageProblemError: It is no phone number, or there is none.
    """
    if not typed and sys.stdin.isatty():
        typed = typer.prompt("The client's number", err=True)
    elif typed == FROM_INPUT:
        typed = sys.stdin.readline().strip()
    if not typed.strip():
        raise UsageProblemError(
            "There is no number. Type it as the command's argument; or, so that it does not stand "
            "in the shell's history, nothing on a terminal, or - and the number on standard input."
        )
    try:
        return check_number(typed)
    except ConfigError as error:
        raise UsageProblemError(str(error)) from None


def check_all_sources() -> None:
    """See that all sources can be searched: a client is looked for in all, or the answer is wrong.

    Raises:
        UsageProblemError: The configuration of one is refused.
        MissingFolderError: `CALLKEEPER_DEFS` names a folder that does not exist.
    """
    _, broken = load_sources()
    if broken:
        raise UsageProblemError(
            "\n".join(describe_broken(source) for source in broken)
            + "\nA client is looked for in all sources: correct this one first."
        )


def run_for_client(job: str, request_id: str, number: str, *arguments: str) -> "SourceOutcome":
    """Run a client's job in a process of its own, which gets the number by its standard input.

    Raises:
        DatabaseError: The database cannot be reached, or is too old.
        SystemExit: Somebody interrupted the command.
    """
    from callkeeper_assets.cli.loading import run_and_show  # noqa: PLC0415
    from callkeeper_assets.cli.workers import Task  # noqa: PLC0415

    words = ("--client", job, "--request", request_id, *arguments)
    (outcome,) = run_and_show([Task(ALL, words, whisper=number)])
    return outcome


@contextmanager
def reserved_private_file(name: str) -> Iterator[Path]:
    """Make a new file that only its owner may read; it is removed again if an error comes.

    Raises:
        UsageProblemError: It is there already, or cannot be written.
    """
    file = Path(name)
    try:
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        raise UsageProblemError(f"{file} is there already: name another one.") from None
    except OSError as error:
        raise UsageProblemError(f"{file} cannot be written: {error.strerror}.") from None
    try:
        yield file
    except OSError as error:
        file.unlink(missing_ok=True)
        raise UsageProblemError(f"{file} cannot be written: {error.strerror}.") from None
    except BaseException:
        file.unlink(missing_ok=True)
        raise
