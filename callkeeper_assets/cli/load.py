"""`callkeeper load`: the historic load of chosen days, one Dagster run a source, side by side."""

from typing import Annotated

import typer

from callkeeper_assets.cli.exits import FAILED


def load(
    source: Annotated[list[str], typer.Argument(help="Names of sources: their folders' names.")],
    *,
    from_day: Annotated[str, typer.Option("--from", metavar="DAY", help="First day, 2026-01-31.")],
    to_day: Annotated[str, typer.Option("--to", metavar="DAY", help="Last day, included.")],
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Replace a day also if it comes back empty, or loses many calls."
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document in place of the table.")
    ] = False,
) -> None:
    """Load chosen days. A day that is loaded already is replaced if it changed."""
    from callkeeper_assets.cli.loading import register_keys, run_and_tell  # noqa: PLC0415
    from callkeeper_assets.cli.periods import check_period, read_day  # noqa: PLC0415
    from callkeeper_assets.cli.selection import choose_good_sources  # noqa: PLC0415
    from callkeeper_assets.cli.workers import Task  # noqa: PLC0415

    first, last = read_day("--from", from_day), read_day("--to", to_day)
    sources = choose_good_sources(source)
    check_period(sources, first, last)
    register_keys(sources)
    arguments = ["--from", first.isoformat(), "--to", last.isoformat()]
    if force:
        arguments.append("--force")
    tasks = [Task(each.name, tuple(arguments)) for each in sources]
    if not run_and_tell(tasks, as_json=as_json):
        raise typer.Exit(FAILED)
