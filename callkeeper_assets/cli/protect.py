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
    from dataclasses import asdict  # noqa: PLC0415

    from callkeeper_assets.cli.console import (  # noqa: PLC0415
        print_error,
        print_json,
        print_note,
        print_text,
        say_count,
    )
    from callkeeper_assets.cli.selection import choose_good_sources  # noqa: PLC0415
    from callkeeper_assets.database.url import database_url  # noqa: PLC0415
    from callkeeper_assets.home import raw_url  # noqa: PLC0415
    from callkeeper_assets.personal_data.applying import apply_privacy  # noqa: PLC0415
    from callkeeper_assets.raw.store import RawStore  # noqa: PLC0415

    (chosen,) = choose_good_sources([source])
    store = RawStore(raw_url())
    done = apply_privacy(database_url(), store, chosen, print_note, is_dry=dry_run)
    if as_json:
        print_json({"source": source, "dry_run": dry_run, **asdict(done)})
    else:
        verb = "would change" if dry_run else "changed"
        print_text(
            f"{source} ({done.rule}): {say_count(done.calls, 'raw call')} in "
            f"{say_count(done.files, 'file')} and {say_count(done.payloads, 'payload')} {verb}."
        )
    for problem in done.problems:
        print_error(problem)
    if done.problems:
        raise typer.Exit(FAILED)
