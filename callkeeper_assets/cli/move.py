"""`callkeeper move`: the embedded database into a PostgreSQL of one's own."""

from typing import Annotated

import typer

from callkeeper_assets.cli.exits import UsageProblemError


def move(
    url: Annotated[
        str | None,
        typer.Argument(
            help="The empty database: postgresql://user:password@host:5432/database. "
            "Default: CALLKEEPER_DATABASE_URL, which no other user of the machine sees."
        ),
    ] = None,
    *,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document in place of the text.")
    ] = False,
) -> None:
    """Move the embedded database into a PostgreSQL of your own, 15 or newer.

    All of it or nothing: tables, those of reports, Dagster's history. The embedded one stays.
    """
    from callkeeper_assets.cli.console import print_json, print_text, say_count  # noqa: PLC0415
    from callkeeper_assets.database.moving import move_embedded  # noqa: PLC0415
    from callkeeper_assets.database.url import describe, normalise  # noqa: PLC0415
    from callkeeper_assets.home import configured_database_url, home  # noqa: PLC0415

    given = url or configured_database_url()
    if given is None:
        raise UsageProblemError(
            "Say where to: callkeeper move postgresql://user:password@host:5432/database, or set "
            "CALLKEEPER_DATABASE_URL."
        )
    target = normalise(given)
    moved = move_embedded(home(), target)
    if as_json:
        print_json({"database": describe(target), "tables": moved.tables, "rows": moved.rows})
        return
    print_text(
        f"Moved to {describe(target)}: {say_count(moved.tables, 'table')}, "
        f"{say_count(moved.rows, 'row')}."
    )
    print_text(
        f"Set CALLKEEPER_DATABASE_URL to it wherever commands run, then `callkeeper check`. The "
        f"embedded database in {home() / 'postgres'} is as it was; delete it when all is well."
    )
