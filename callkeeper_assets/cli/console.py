"""What a person sees and how a command ends: output, exit codes, environment of children."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from callkeeper_assets.config.errors import NoProjectError
from callkeeper_assets.home import find_project, project_root, set_dagster_home
from callkeeper_assets.language import look_up, mark, say_number, tr

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

# What several commands take.
SourceNames = Annotated[list[str] | None, typer.Argument(help="Names of sources. Default: all.")]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON document in place of the table.")
]
AsJsonOfTables = Annotated[
    bool, typer.Option("--json", help="Print one JSON document in place of the tables.")
]

# A pipe has no width; a table must not be folded for one that somebody guessed.
_PIPE_WIDTH: Final = 1000

# As Rich names them.
_UNITS: Final = (mark("byte"), mark("bytes"), mark("kB"), mark("MB"), mark("GB"), mark("TB"))

FAILED: Final = 1
WRONG_USAGE: Final = 2
# As shells have it: 128 and the number of SIGINT.
INTERRUPTED: Final = 130


def configure_streams() -> None:
    """Let no letter that the output's encoding lacks end a command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")


# A space of padding, and one of the table's box.
_BETWEEN_COLUMNS: Final = 2


def open_console(*, stderr: bool = False) -> "Console":
    """Return a console for a result, or for progress and errors."""
    from rich.console import Console  # noqa: PLC0415 -- 0.1 s, which --version need not pay

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _PIPE_WIDTH
    return Console(file=stream, width=width, markup=False, highlight=False, soft_wrap=True)


def build_table(*columns: str, numeric: Sequence[str] = (), are_names: bool = False) -> "Table":
    """Return an empty table; the columns named in `numeric` are aligned to the right.

    Columns are named in English, as constants: their titles are in the language in force, unless
    they are names of the user's, of columns in SQL.
    """
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for column in columns:
        table.add_column(
            column if are_names else look_up(column),
            justify="right" if column in numeric else "left",
            overflow="fold",
        )
    return table


def say_size(size: int) -> str:
    """Return a size with its unit: `1.2 MB`."""
    from rich import filesize  # noqa: PLC0415

    number, _, unit = filesize.decimal(size).partition(" ")
    shown = say_number(float(number), ".1f" if "." in number else ".0f")
    return f"{shown} {look_up(unit)}"


def print_text(text: str = "", style: str | None = None) -> None:
    """Print lines of a result."""
    open_console().print(text, style=style)


def print_table(table: "Table") -> None:
    """Print a table, and an empty line after it; no word is broken, however narrow the terminal."""
    console = open_console()
    console.width = max(console.width, _fit(table, console))
    if console.is_terminal:
        console.print(table, soft_wrap=False)
    else:
        with console.capture() as lines:
            console.print(table, soft_wrap=False)
        for line in lines.get().splitlines():
            console.print(line.rstrip())
    console.print()


def _fit(table: "Table", console: "Console") -> int:
    """Fit columns into the console, none narrower than its longest word; return the width."""
    from rich.measure import Measurement  # noqa: PLC0415

    options = console.options.update(max_width=_PIPE_WIDTH)
    least, most = [], []
    for column in table.columns:
        cells = (column.header, *column.cells)
        found = [Measurement.get(console, options, cell) for cell in cells]
        least.append(max(one.minimum for one in found))
        most.append(max(one.maximum for one in found))
    width = sum(least) + _BETWEEN_COLUMNS * len(least)
    for column, narrow, wide in zip(table.columns, least, most, strict=True):
        column.width = min(wide, max(narrow, narrow + console.width - width))
        width += column.width - narrow
    return width


def print_note(text: str) -> None:
    """Print progress, or a remark, that is no result."""
    open_console(stderr=True).print(text)


def print_warning(text: str) -> None:
    """Print what somebody should look at."""
    open_console(stderr=True).print(text, style="yellow")


def print_error(text: str) -> None:
    """Print why something failed, red on a terminal."""
    open_console(stderr=True).print(text, style="red")


def print_json(document: object) -> None:
    """Print the one document that a machine reads."""
    sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=2, default=str) + "\n")
    sys.stdout.flush()


class UsageProblemError(Exception):
    """What was typed cannot be done: a person has to type something else; says what."""


def load_env_file(folder: Path) -> None:
    """Set the variables of `folder`'s `.env` that are not set."""
    file = folder / ".env"
    if file.is_file():
        from dotenv import load_dotenv  # noqa: PLC0415 -- most installations have no such file

        load_dotenv(file, override=False)


def prepare_environment(*, needs_project: bool = True, writes: bool = True) -> None:
    """Set what every command and its children go by.

    Args:
        needs_project: Whether it is of a project.
        writes: Whether a home for Dagster may be made, where the project has no `dagster.yaml`.

    Raises:
        NoProjectError: A project is needed and there is none, nor `CALLKEEPER_DEFS`.
    """
    load_env_file(project_root())
    if not needs_project:
        return
    if not os.environ.get("CALLKEEPER_DEFS") and find_project() is None:
        raise NoProjectError(project_root())
    if writes:
        set_dagster_home()


def build_child_environment() -> dict[str, str]:
    """Return the environment of a process that runs Dagster."""
    # A run over many days writes many events; Dagster then sends them in batches.
    environment = {"DAGSTER_EVENT_BATCH_SIZE": "1000", **os.environ}
    # A supervisor watches the process that it started, and is told by that alone.
    environment.pop("NOTIFY_SOCKET", None)
    return environment


def name_program() -> str:
    """Return how this program is typed here: by its path where no shell finds it."""
    beside = Path(sys.executable).with_name("callkeeper")
    if shutil.which("callkeeper") or not beside.exists():
        return "callkeeper"
    here = Path.cwd()
    return str(beside.relative_to(here) if beside.is_relative_to(here) else beside)


def _read_metadata() -> str:
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 -- 0.02 s

    try:
        return version("callkeeper-assets")
    except PackageNotFoundError:
        return "unknown"


def read_version() -> str:
    """Return the installed version as a requirement may name it; `unknown` in a bare checkout."""
    return _read_metadata().partition("+")[0]


def describe_version() -> str:
    """Return the installed version; of a checkout, what would be built of it now, commit included.

    An editable installation's metadata tells of the day it was made. Where what builds is missing
    (`make install` brings it along), that is said.
    """
    checkout = Path(__file__).parents[2]
    if not (checkout / ".git").exists():
        return _read_metadata()
    asked = subprocess.run(
        [sys.executable, "-m", "hatchling", "version"],
        cwd=checkout,
        capture_output=True,
        text=True,
        check=False,
    )
    if asked.returncode:
        return tr(
            "{read_version} or newer: a checkout, installed without what builds it",
            read_version=read_version(),
        )
    return asked.stdout.strip()
