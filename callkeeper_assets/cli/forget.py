"""`callkeeper forget`: erases one client everywhere; a dry run only says what would be erased."""

from typing import TYPE_CHECKING, Annotated

import typer

from callkeeper_assets.cli.exits import FAILED

if TYPE_CHECKING:
    from callkeeper_assets.personal_data.forgetting import Forgotten


def forget(
    phone: Annotated[str, typer.Argument(help="The client's number, written in any way.")],
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be erased, and change nothing.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document in place of the tables.")
    ] = False,
) -> None:
    """Erase one client's number, and what else tells of that client, everywhere."""
    from dataclasses import asdict  # noqa: PLC0415

    from callkeeper_assets.cli.console import print_error, print_json, print_note  # noqa: PLC0415
    from callkeeper_assets.cli.personal_data import choose_all_sources, read_number  # noqa: PLC0415
    from callkeeper_assets.database.url import database_url  # noqa: PLC0415
    from callkeeper_assets.home import raw_url  # noqa: PLC0415
    from callkeeper_assets.personal_data.forgetting import Forgetter  # noqa: PLC0415
    from callkeeper_assets.raw.store import RawStore  # noqa: PLC0415

    number = read_number(phone)
    sources = choose_all_sources()
    forgetter = Forgetter(database_url(), RawStore(raw_url()), sources, print_note)
    result = forgetter.forget(number, is_dry=dry_run)
    if as_json:
        print_json({"dry_run": dry_run, **asdict(result)})
    else:
        _print_result(result, is_dry=dry_run)
    for problem in result.problems:
        print_error(problem)
    if result.problems:
        raise typer.Exit(FAILED)


def _print_result(result: "Forgotten", *, is_dry: bool) -> None:
    from callkeeper_assets.cli.console import (  # noqa: PLC0415
        build_table,
        print_table,
        print_text,
        say_count,
    )

    found = result.found
    columns = ("Calls", "Mentions", "Raw files", "Raw calls", "Payloads")
    table = build_table("Source", *columns, numeric=columns)
    for one in found.sources:
        counts = (one.calls, one.mentions, one.raw_files, one.raw_calls, one.payloads)
        table.add_row(one.source, *(f"{count:,}" for count in counts))
    print_table(table)
    if found.rows:
        rows = build_table("Table", "Rows with the number", numeric=("Rows with the number",))
        for name, count in found.rows.items():
            rows.add_row(name, f"{count:,}")
        print_table(rows)
    for one in found.sources:
        if one.of_manager:
            print_text(
                f"{one.source}: {say_count(one.of_manager, 'call')} have the number as the "
                "manager's: the company's own side is left."
            )
        if one.masked:
            print_text(
                f"{one.source}: {say_count(one.masked, 'raw call')} have a masked number that can "
                "be this one: nobody can tell, so they are left."
            )
    print_text(_conclude(result, is_dry=is_dry))


def _conclude(result: "Forgotten", *, is_dry: bool) -> str:
    if result.found.is_empty:
        return "The number is nowhere."
    if is_dry:
        return "A dry run: nothing was changed."
    if result.problems:
        return "Not all could be erased; what was, stays erased. Run the command again after:"
    return (
        f"Erased, and looked for again: the number is nowhere. In callkeeper_erasures: "
        f"{result.request_id}. Backups, and what was sent elsewhere, are yours to see to."
    )
