"""`callkeeper history`: everything that touched one call, in order."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from callkeeper_assets.cli.exits import FAILED

if TYPE_CHECKING:
    from callkeeper_assets.warehouse.history import CallEvent, CallHistory, PresentCall


def history(
    call_id: Annotated[
        int, typer.Argument(help="The call's id in CallKeeper, or its id over all services.")
    ],
    *,
    source: Annotated[
        list[str] | None, typer.Option("--source", help="Name of a source. Default: all.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document in place of the table.")
    ] = False,
) -> None:
    """Show what touched one call: loads of its day, webhooks, discrepancies; and what it is now."""
    from dataclasses import asdict  # noqa: PLC0415

    from callkeeper_assets.cli.console import print_error, print_json  # noqa: PLC0415
    from callkeeper_assets.cli.selection import choose_sources  # noqa: PLC0415
    from callkeeper_assets.database.url import database_url  # noqa: PLC0415
    from callkeeper_assets.warehouse.history import read_history  # noqa: PLC0415
    from callkeeper_assets.warehouse.migrate import ensure_schema  # noqa: PLC0415

    sources, _ = choose_sources(source or [])
    url = database_url()
    ensure_schema(url)
    read = (read_history(url, each.name, each.time_zone, call_id) for each in sources)
    found = [one for one in read if one is not None]
    if as_json:
        print_json({"call_id": call_id, "sources": [asdict(one) for one in found]})
    else:
        _print_histories(found)
    if not found:
        if not as_json:
            names = ", ".join(each.name for each in sources)
            print_error(f"Nothing is known of call {call_id} in {names}: no row, no webhook.")
        raise typer.Exit(FAILED)


def _print_histories(found: "Sequence[CallHistory]") -> None:
    from callkeeper_assets.cli.console import build_table, print_table, print_text  # noqa: PLC0415

    for one in found:
        table = build_table("When", "Day", "What", "Run")
        for event in one.events:
            table.add_row(
                event.at.astimezone().strftime("%Y-%m-%d %H:%M:%S"),
                str(event.day or ""),
                _describe(event),
                event.run_id or "",
            )
        print_text(f"Call {one.call_id} of {one.source}")
        print_table(table)
        print_text(_describe_present(one.present))


def _describe(event: "CallEvent") -> str:
    details = event.details
    match event.kind:
        case "load":
            if details["error"]:
                return f"load failed: {details['error']}"
            changes = "; ".join(
                f"{table} "
                + ", ".join(f"{rows:,} {action}" for action, rows in counts.items() if rows)
                for table, counts in sorted(details["tables"].items())
            )
            return f"day loaded ({details['origin']}): {changes or 'nothing changed'}"
        case "webhook":
            again = f", came {details['repeats']} times more" if details["repeats"] else ""
            reason = f" ({details['reason']})" if details["reason"] else ""
            name = details["event"] or "without an event"
            return f"webhook {name}: {details['state']}{reason}{again}"
        case "lost":
            return _describe_lost(event)
        case "found" | "healed" | "gone":
            ended = "found gone" if event.kind == "gone" else event.kind
            return f"discrepancy {ended}: {_describe_discrepancy(event)}"


def _describe_lost(event: "CallEvent") -> str:
    details = event.details
    name = details["event"] or "without an event"
    answer = details["status"] or "no answer"
    held = "it came another time" if details["is_held"] else "it is not in the inbox"
    return f"webhook {name} {details['kind']}: CallKeeper saw {answer}, {held}"


def _describe_discrepancy(event: "CallEvent") -> str:
    details = event.details
    if details["kind"] != "differs":
        return str(details["kind"]).replace("_", " ")
    values = (details["warehouse_value"], details["source_value"])
    warehouse, source = ("nothing" if value is None else value for value in values)
    return f"{details['parameter']} was {warehouse}, the source says {source}"


def _describe_present(present: "PresentCall | None") -> str:
    if present is None:
        return "Now: not in the tables."
    finality = "final" if present.is_final else "not final"
    numbers = ", ".join(
        f"{name} {value}"
        for name in ("duration_sec", "duration2_sec", "attempt", "asr_attempts", "playback_tick")
        if (value := getattr(present, name)) is not None
    )
    called, loaded = (
        moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")
        for moment in (present.called_at, present.loaded_at)
    )
    return (
        f"Now: {present.status or 'status unknown'}, {finality}, called {called}, origin "
        f"{present.origin}, written {loaded}; {numbers or 'without numbers'}."
    )
