"""`callkeeper report`: one custom report for chosen days, or a look at its first rows."""

from typing import Annotated

import typer

from callkeeper_assets.cli.exits import FAILED


def report(
    source: Annotated[str, typer.Argument(help="The source's name: its folder's name.")],
    name: Annotated[str, typer.Argument(help="The report's name in the source's defs.yaml.")],
    *,
    from_day: Annotated[str, typer.Option("--from", metavar="DAY", help="First day, 2026-01-31.")],
    to_day: Annotated[str, typer.Option("--to", metavar="DAY", help="Last day, included.")],
    preview: Annotated[
        bool,
        typer.Option(
            "--preview", help="Print the first rows, of raw calls alone, and write nothing."
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document in place of the tables.")
    ] = False,
) -> None:
    """Build a custom report from raw calls that are there; CallKeeper is asked nothing."""
    from callkeeper_assets.cli.loading import run_and_tell  # noqa: PLC0415
    from callkeeper_assets.cli.periods import check_report_period, read_day  # noqa: PLC0415
    from callkeeper_assets.cli.report_preview import show_preview  # noqa: PLC0415
    from callkeeper_assets.cli.selection import choose_report  # noqa: PLC0415
    from callkeeper_assets.cli.workers import Task  # noqa: PLC0415

    first, last = read_day("--from", from_day), read_day("--to", to_day)
    chosen, wanted = choose_report(source, name)
    check_report_period(chosen, first, last)
    if preview:
        is_done = show_preview(chosen, wanted, first, last, as_json=as_json)
    else:
        arguments = ("--report", name, "--from", first.isoformat(), "--to", last.isoformat())
        is_done = run_and_tell([Task(chosen.name, arguments)], as_json=as_json)
    if not is_done:
        raise typer.Exit(FAILED)
