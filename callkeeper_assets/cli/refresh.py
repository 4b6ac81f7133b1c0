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
    from callkeeper_assets.cli.console import print_error  # noqa: PLC0415
    from callkeeper_assets.cli.loading import register_keys, run_and_tell  # noqa: PLC0415
    from callkeeper_assets.cli.selection import (  # noqa: PLC0415
        choose_good_sources,
        choose_sources,
        describe_broken,
    )
    from callkeeper_assets.cli.workers import Task  # noqa: PLC0415
    from callkeeper_assets.config.errors import MissingSecretError  # noqa: PLC0415

    ready, failed = [], False
    if source:
        ready = choose_good_sources(source)
        register_keys(ready)
    else:
        # Nobody named the one that cannot be refreshed: the others are, and it is told.
        sources, broken = choose_sources([])
        for refused in broken:
            failed = True
            print_error(describe_broken(refused))
        for each in sources:
            try:
                register_keys([each])
                ready.append(each)
            except MissingSecretError as error:
                failed = True
                print_error(str(error))
    if ready:
        tasks = [Task(each.name, ("--refresh",)) for each in ready]
        failed = not run_and_tell(tasks, as_json=as_json) or failed
    if failed:
        raise typer.Exit(FAILED)
