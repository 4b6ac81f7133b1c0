"""`callkeeper erasures`: the record of forgotten clients, as it is shown to an auditor."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from callkeeper_assets.cli.exits import FAILED

if TYPE_CHECKING:
    from callkeeper_assets.personal_data.erasures import ErasureRecord


def erasures(
    phone: Annotated[
        str,
        typer.Argument(
            help="Only those of one client: the number, or - to read it from standard input. "
            "Default: all."
        ),
    ] = "",
    *,
    verify: Annotated[
        str,
        typer.Option(
            "--verify",
            metavar="REQUEST",
            help="First search everything again for a request's client, by hash, and note it.",
        ),
    ] = "",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document in place of the table.")
    ] = False,
) -> None:
    """Show who was forgotten when, on whose word, and what was found and left; no number."""
    from callkeeper_assets.cli.console import print_json  # noqa: PLC0415
    from callkeeper_assets.cli.personal_data import (  # noqa: PLC0415
        check_all_sources,
        read_number,
        run_for_client,
    )
    from callkeeper_assets.database.url import connect, database_url  # noqa: PLC0415
    from callkeeper_assets.personal_data.erasures import list_erasures  # noqa: PLC0415
    from callkeeper_assets.warehouse.migrate import ensure_schema  # noqa: PLC0415

    number = read_number(phone) if phone else ""
    is_clean = True
    if verify:
        check_all_sources()
        is_clean = not run_for_client("forget", verify, "").errors
    ensure_schema(database_url())
    with connect(autocommit=True) as connection:
        records = list_erasures(connection, number)
    shown = [one for one in records if not verify or one.request_id == verify]
    if as_json:
        print_json({"erasures": [vars(one) for one in shown]})
    else:
        _print_records(shown)
    if not is_clean:
        raise typer.Exit(FAILED)


def _print_records(records: "list[ErasureRecord]") -> None:
    from callkeeper_assets.cli.console import build_table, print_table, print_text  # noqa: PLC0415

    if not records:
        print_text("No request is recorded.")
        return
    table = build_table(
        *("Request", "Source", "Requested", "On whose word", "Erased", "Calls", "Found"),
        *("Verified", "Left"),
        numeric=("Calls",),
    )
    for one in records:
        table.add_row(
            one.request_id,
            one.source,
            _say_moment(one.requested_at),
            one.reference or "",
            _say_moment(one.finished_at) or "not yet: run callkeeper forget again",
            f"{one.calls:,}",
            _say_found(one.found),
            _say_moment(one.verified_at) or "never",
            _say_left(one.left_over),
        )
    print_table(table)


def _say_moment(moment: Any) -> str:  # noqa: ANN401 -- a moment, or None
    return f"{moment.astimezone():%Y-%m-%d %H:%M %Z}" if moment else ""


def _say_found(found: dict[str, Any]) -> str:
    rows = sum(found.get("rows", {}).values())
    counts = {
        "raw calls": found.get("raw_calls", 0),
        "payloads": found.get("payloads", 0),
        "rows": rows,
    }
    return ", ".join(f"{count:,} {name}" for name, count in counts.items() if count) or "nothing"


def _say_left(left_over: dict[str, int] | None) -> str:
    if left_over is None:
        return ""
    return ", ".join(f"{place}: {count:,}" for place, count in left_over.items()) or "nothing"
