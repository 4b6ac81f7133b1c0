"""`callkeeper forget`: erases one client everywhere; a dry run only says what would be erased."""

from typing import Annotated, Any

import typer

from callkeeper_assets.cli.exits import FAILED, UsageProblemError


def forget(
    phone: Annotated[
        str,
        typer.Argument(
            help="The client's number, written in any way; - reads it from standard input, and "
            "without it a terminal asks: so it is in no shell's history."
        ),
    ] = "",
    *,
    reference: Annotated[
        str,
        typer.Option(
            "--reference",
            metavar="TEXT",
            help="On whose word, for the record: request 17 of 2026-11-20. No number in it.",
        ),
    ] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be erased, and change nothing.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document in place of the tables.")
    ] = False,
) -> None:
    """Erase one client's number, and what else tells of that client, everywhere.

    Then all is searched again, by other means; exit code 1 if anything similar is left.
    """
    from callkeeper_assets.cli.console import print_json  # noqa: PLC0415
    from callkeeper_assets.cli.personal_data import (  # noqa: PLC0415
        check_all_sources,
        read_number,
        run_for_client,
    )
    from callkeeper_assets.config.errors import ConfigError  # noqa: PLC0415
    from callkeeper_assets.personal_data.requests import (  # noqa: PLC0415
        check_reference,
        name_request,
    )

    number = read_number(phone)
    try:
        said = check_reference(reference, number)
    except ConfigError as error:
        raise UsageProblemError(str(error)) from None
    check_all_sources()
    options = [*(["--reference", said] if said else []), *(["--dry-run"] if dry_run else [])]
    outcome = run_for_client("forget", name_request("forget"), number, *options)
    document = outcome.document
    if document is not None and as_json:
        print_json(document)
    elif document is not None:
        _print_result(document)
    if outcome.errors:
        raise typer.Exit(FAILED)


def _print_result(document: dict[str, Any]) -> None:
    from callkeeper_assets.cli.console import (  # noqa: PLC0415
        build_table,
        print_table,
        print_text,
        say_count,
    )

    found = document["found"]
    names = {
        "calls": "Calls",
        "mentions": "Mentions",
        "raw_files": "Raw files",
        "raw_calls": "Raw calls",
        "payloads": "Payloads",
    }
    table = build_table("Source", *names.values(), numeric=tuple(names.values()))
    for one in found["sources"]:
        table.add_row(one["source"], *(f"{one[name]:,}" for name in names))
    print_table(table)
    if found["rows"]:
        rows = build_table("Table", "Rows with the number", numeric=("Rows with the number",))
        for name, count in found["rows"].items():
            rows.add_row(name, f"{count:,}")
        print_table(rows)
    for one in found["sources"]:
        if one["of_manager"]:
            print_text(
                f"{one['source']}: {say_count(one['of_manager'], 'call')} have the number as the "
                "manager's: the company's own side is left."
            )
        if one["masked"]:
            print_text(
                f"{one['source']}: {say_count(one['masked'], 'raw call')} have a masked number "
                "that can be this one: nobody can tell, so they are left."
            )
    print_places(document["similar"])
    print_text(_conclude(document))


def print_places(places: list[dict[str, Any]]) -> None:
    """Print where similar digits are, for a person to judge."""
    from callkeeper_assets.cli.console import build_table, print_table  # noqa: PLC0415

    if not places:
        return
    table = build_table("The same last nine digits", "Count", "Calls", numeric=("Count",))
    for one in places:
        calls = ", ".join(str(call) for call in one["calls"])
        table.add_row(one["place"], f"{one['count']:,}", calls)
    print_table(table)


def _conclude(document: dict[str, Any]) -> str:
    found = document["found"]
    counts = [one[name] for one in found["sources"] for name in ("calls", "mentions", "payloads")]
    is_nowhere = not any(counts) and not found["rows"]
    if document["dry_run"]:
        return "The number is nowhere." if is_nowhere else "A dry run: nothing was changed."
    if document["problems"]:
        return "Not all could be erased; what was, stays erased."
    said = "The number is nowhere." if is_nowhere else "Erased, and looked for again in two ways."
    if document["similar"]:
        said += " Somebody has to look at the places above: they may be another's, or no number."
    if document["request_id"]:
        said += f" In callkeeper_erasures: {document['request_id']}."
    if not is_nowhere:
        said += " Backups, and what was sent elsewhere, are yours to see to."
    return said
