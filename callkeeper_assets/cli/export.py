"""`callkeeper export`: everything that is held on one client, as JSON."""

from typing import Annotated

import typer


def export(
    phone: Annotated[str, typer.Argument(help="The client's number, written in any way.")],
    *,
    output: Annotated[
        str, typer.Option("--output", metavar="FILE", help="Write there. Default: print it.")
    ] = "",
) -> None:
    """Give everything that is held on one client: rows, raw calls, webhooks, and where each is."""
    from callkeeper_assets.cli.console import print_json, print_note  # noqa: PLC0415
    from callkeeper_assets.cli.personal_data import (  # noqa: PLC0415
        choose_all_sources,
        read_number,
        write_private_file,
    )
    from callkeeper_assets.database.url import database_url  # noqa: PLC0415
    from callkeeper_assets.home import raw_url  # noqa: PLC0415
    from callkeeper_assets.personal_data.exporting import export_client  # noqa: PLC0415
    from callkeeper_assets.raw.store import RawStore  # noqa: PLC0415

    number = read_number(phone)
    document = export_client(
        database_url(), RawStore(raw_url()), choose_all_sources(), number, print_note
    )
    if output:
        write_private_file(output, document)
        print_note(f"Written to {output}, readable by you alone.")
    else:
        print_json(document)
