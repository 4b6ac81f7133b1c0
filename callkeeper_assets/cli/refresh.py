"""`callkeeper refresh`: what the daily schedule does, now."""

from typing import Annotated

import typer

from callkeeper_assets.cli.exits import FAILED


def refresh(
    source: Annotated[
        list[str] | None, typer.Argument(help="Names of sources. Default: all.")
    ] = None,
    *,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document in place of the table.")
    ] = False,
) -> None:
    """Read recent days again, and older ones that hold calls which are not final."""
    from callkeeper_assets.cli.loading import register_keys, run_and_tell  # noqa: PLC0415
    from callkeeper_assets.cli.selection import (  # noqa: PLC0415
        choose_good_sources,
        choose_sources,
        describe_broken,
    )
    from callkeeper_assets.cli.workers import Outcome, Task  # noqa: PLC0415
    from callkeeper_assets.config.errors import MissingSecretError  # noqa: PLC0415

    tasks, refused = [], []
    if source:
        chosen = choose_good_sources(source)
        register_keys(chosen)
        tasks = [Task(each.name, ("--refresh",)) for each in chosen]
    else:
        # Nobody named the one that cannot be refreshed: the others are, and it is told.
        sources, broken = choose_sources([])
        refused = [Outcome(each.name, errors=[describe_broken(each)]) for each in broken]
        for each in sources:
            try:
                register_keys([each])
                tasks.append(Task(each.name, ("--refresh",)))
            except MissingSecretError as error:
                refused.append(Outcome(each.name, errors=[str(error)]))
    if not run_and_tell(tasks, as_json=as_json, refused=refused):
        raise typer.Exit(FAILED)
