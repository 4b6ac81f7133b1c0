"""`callkeeper protect`: a source's privacy settings applied to calls that are stored already."""

from typing import Annotated

import typer

from callkeeper_assets.cli.exits import FAILED


def protect(
    source: Annotated[str, typer.Argument(help="The source's name: its folder's name.")],
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be rewritten, and change nothing.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document in place of the text.")
    ] = False,
) -> None:
    """Apply the privacy settings to stored calls, which the settings alone leave as they are."""
    from callkeeper_assets.cli.console import (  # noqa: PLC0415
        print_json,
        print_text,
        say_count,
    )
    from callkeeper_assets.cli.loading import run_and_show  # noqa: PLC0415
    from callkeeper_assets.cli.selection import choose_good_sources  # noqa: PLC0415
    from callkeeper_assets.cli.workers import Task  # noqa: PLC0415

    (chosen,) = choose_good_sources([source])
    arguments = ("--protect", "--dry-run") if dry_run else ("--protect",)
    (outcome,) = run_and_show([Task(chosen.name, arguments)])
    done = outcome.document
    if done is not None and as_json:
        print_json(done)
    elif done is not None:
        verb = "would change" if dry_run else "changed"
        print_text(
            f"{source} ({done['rule']}): {say_count(done['calls'], 'raw call')} in "
            f"{say_count(done['files'], 'file')} and {say_count(done['payloads'], 'payload')} "
            f"{verb}."
        )
    if outcome.errors:
        raise typer.Exit(FAILED)
