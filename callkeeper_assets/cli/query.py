"""`callkeeper query`: reads with SQL, for those without Python; a table, or a file."""

import re
import sys
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from callkeeper_assets.cli.console import UsageProblemError
from callkeeper_assets.language import tr

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO
    from zoneinfo import ZoneInfo

    from callkeeper_assets.analysis.export import Rows

# More than anybody reads on a terminal; a table's widths are known only when all of it is.
_MOST_SHOWN: Final = 1_000
# A value is somebody else's: it must not steer the terminal.
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def query(
    statement: Annotated[
        str, typer.Argument(metavar="SQL", help='One statement: "SELECT …"; - reads it from input.')
    ],
    *,
    csv: Annotated[
        str,
        typer.Option("--csv", metavar="FILE", help="Write CSV that Excel opens; - prints it."),
    ] = "",
    xlsx: Annotated[
        str, typer.Option("--xlsx", metavar="FILE", help="Write an Excel workbook.")
    ] = "",
    parquet: Annotated[
        str, typer.Option("--parquet", metavar="FILE", help="Write Parquet, with the types.")
    ] = "",
) -> None:
    """Ask the warehouse with SQL; nothing can be changed. Without a file: a table, its first rows.

    Moments are in the sources' time zone, and in UTC if they have several.
    """
    if sum(map(bool, (csv, xlsx, parquet))) > 1:
        raise UsageProblemError(tr("Choose one of --csv, --xlsx and --parquet."))

    from callkeeper_assets.analysis.export import run_query  # noqa: PLC0415

    # Windows' editors begin a file with a mark.
    text = sys.stdin.read().removeprefix("\ufeff") if statement == "-" else statement
    with run_query(text, _find_zone()) as rows:
        if csv or xlsx or parquet:
            _write(rows, csv, xlsx, parquet)
        else:
            _show(rows)


def _find_zone() -> "ZoneInfo":
    from zoneinfo import ZoneInfo  # noqa: PLC0415

    from callkeeper_assets.config.loading import load_sources  # noqa: PLC0415

    zones = {source.time_zone for source in load_sources()[0]}
    return zones.pop() if len(zones) == 1 else ZoneInfo("UTC")


def _write(rows: "Rows", csv: str, xlsx: str, parquet: str) -> None:
    from callkeeper_assets.analysis.export import (  # noqa: PLC0415
        replaced,
        write_csv,
        write_parquet,
        write_xlsx,
    )
    from callkeeper_assets.cli.console import print_note  # noqa: PLC0415
    from callkeeper_assets.config.errors import say_count  # noqa: PLC0415

    if csv == "-":
        with _plain_output() as output:
            write_csv(rows, output)
        return
    name = csv or xlsx or parquet
    with replaced(Path(name)) as path:
        if csv:
            with path.open("w", encoding="utf-8", newline="") as file:
                count = write_csv(rows, file)
        else:
            count = write_xlsx(rows, path) if xlsx else write_parquet(rows, path)
    print_note(tr("{count} written to {name}.", count=say_count(count, "row"), name=name))


@contextmanager
def _plain_output() -> "Iterator[IO[str]]":
    """Standard output in UTF-8 with the lines' ends as they are written."""
    output = TextIOWrapper(sys.stdout.buffer, encoding="utf-8", newline="", write_through=True)
    try:
        yield output
    finally:
        output.detach()


def _show(rows: "Rows") -> None:
    from rich.text import Text  # noqa: PLC0415

    from callkeeper_assets.cli.console import (  # noqa: PLC0415
        build_table,
        print_note,
        print_table,
    )
    from callkeeper_assets.config.errors import say_count  # noqa: PLC0415

    table = build_table(*rows.names, numeric=_list_numeric(rows), are_names=True)
    count = 0
    for row in rows:
        if count == _MOST_SHOWN:
            print_table(table)
            print_note(
                tr(
                    "The first {most_shown:,} rows. For all of them: --csv FILE",
                    most_shown=_MOST_SHOWN,
                )
            )
            return
        shown = ("" if value is None else _CONTROL.sub("\ufffd", str(value)) for value in row)
        table.add_row(*map(Text, shown))
        count += 1
    print_table(table)
    print_note(say_count(count, "row"))


def _list_numeric(rows: "Rows") -> list[str]:
    numeric = {"int2", "int4", "int8", "float4", "float8", "numeric"}
    return [name for name, kind in zip(rows.names, rows.types, strict=True) if kind in numeric]
