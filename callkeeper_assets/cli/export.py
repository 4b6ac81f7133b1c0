"""`callkeeper export`: everything that is held on one client, as JSON."""

from typing import Annotated

import typer

from callkeeper_assets.cli.exits import FAILED


def export(
    phone: Annotated[
        str,
        typer.Argument(
            help="The client's number, written in any way; - reads it from standard input, and "
            "without it a terminal asks: so it is in no shell's history."
        ),
    ] = "",
    *,
    output: Annotated[
        str, typer.Option("--output", metavar="FILE", help="Write there. Default: print it.")
    ] = "",
) -> None:
    """Give everything that is held on one client: rows, raw calls, webhooks, and where each is."""
    import sys  # noqa: PLC0415

    from callkeeper_assets.cli.console import print_note  # noqa: PLC0415
    from callkeeper_assets.cli.personal_data import (  # noqa: PLC0415
        check_all_sources,
        read_number,
        reserved_private_file,
    )

    number = read_number(phone)
    check_all_sources()
    if not output:
        sys.stdout.write(_export(number))
        sys.stdout.flush()
        return
    # Made before all is searched: that takes minutes.
    with reserved_private_file(output) as file:
        file.write_text(_export(number), encoding="utf-8")
    print_note(f"Written to {output}, readable by you alone.")


def _export(number: str) -> str:
    """Run the job; return what it wrote, which stays nowhere else."""
    from pathlib import Path  # noqa: PLC0415

    from callkeeper_assets.cli.personal_data import run_for_client  # noqa: PLC0415
    from callkeeper_assets.personal_data.requests import name_request  # noqa: PLC0415

    outcome = run_for_client("export", name_request("export"), number)
    file = Path(outcome.document["file"]) if outcome.document else None
    try:
        if file is None or outcome.errors:
            raise typer.Exit(FAILED)
        return file.read_text("utf-8")
    finally:
        if file is not None:
            file.unlink(missing_ok=True)
