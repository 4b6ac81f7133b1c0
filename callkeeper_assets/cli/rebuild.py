"""`callkeeper rebuild`: days that an older version filled are filled again from raw calls, now."""

from typing import Annotated

import typer

from callkeeper_assets.cli.exits import FAILED


def rebuild(
    source: Annotated[
        list[str] | None, typer.Argument(help="Names of sources. Default: all.")
    ] = None,
    *,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document in place of the table.")
    ] = False,
) -> None:
    """Fill days again that an older version filled; CallKeeper is asked for nothing.

    The next refresh does it by itself. Each day is replaced as a whole: interrupted, it goes on
    with the days that are left.
    """
    from callkeeper_assets.cli.console import print_note, say_count  # noqa: PLC0415
    from callkeeper_assets.cli.loading import run_and_tell  # noqa: PLC0415
    from callkeeper_assets.cli.selection import (  # noqa: PLC0415
        choose_good_sources,
        choose_sources,
        describe_broken,
    )
    from callkeeper_assets.cli.workers import Outcome, Task  # noqa: PLC0415
    from callkeeper_assets.database.url import database_url  # noqa: PLC0415
    from callkeeper_assets.warehouse.queries import outdated_days  # noqa: PLC0415

    chosen, broken = (choose_good_sources(source), []) if source else choose_sources([])
    is_done = run_and_tell(
        [Task(each.name, ("--rebuild",)) for each in chosen],
        as_json=as_json,
        refused=[Outcome(each.name, errors=[describe_broken(each)]) for each in broken],
    )
    for each in chosen if is_done else ():
        left = outdated_days(database_url(), each.name)
        if left:
            print_note(
                f"{each.name}: {say_count(len(left), 'day')} of {left[0]} to {left[-1]} stay as "
                f"they were, their raw calls are not there. Load them from CallKeeper, as far as "
                f"it gives them: callkeeper load {each.name} --from {left[0]} --to {left[-1]}"
            )
    if not is_done:
        raise typer.Exit(FAILED)
