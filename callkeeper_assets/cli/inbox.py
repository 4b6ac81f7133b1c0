"""`callkeeper inbox`: webhook payloads by state, and the rejected ones once more."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from callkeeper_assets.cli.console import FAILED

if TYPE_CHECKING:
    from callkeeper_assets.webhooks.inbox_queries import InboxEntry

_MOST: Final = 100


def inbox(
    source: Annotated[
        list[str] | None, typer.Argument(help="Names of sources. Default: all.")
    ] = None,
    *,
    state: Annotated[
        Literal["new", "processed", "hint", "rejected"],
        typer.Option(help="Which payloads to list; hint: call tracking's, which name no call."),
    ] = "rejected",
    replay: Annotated[
        bool, typer.Option("--replay", help="Have the rejected payloads processed again.")
    ] = False,
    process: Annotated[
        bool,
        typer.Option("--process", help="Process what waits now, as the sensor of `dev` does."),
    ] = False,
    limit: Annotated[int, typer.Option(min=1, help="List at most so many.")] = _MOST,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document in place of the table.")
    ] = False,
) -> None:
    """List webhook payloads, the newest first: by default those rejected, with the reason."""
    from dataclasses import asdict  # noqa: PLC0415

    from callkeeper_assets.cli.console import (  # noqa: PLC0415
        UsageProblemError,
        print_json,
        print_text,
    )
    from callkeeper_assets.cli.selection import choose_sources  # noqa: PLC0415
    from callkeeper_assets.postgres.url import database_url  # noqa: PLC0415
    from callkeeper_assets.warehouse.migrate import ensure_schema  # noqa: PLC0415
    from callkeeper_assets.webhooks.inbox_queries import (  # noqa: PLC0415
        list_entries,
        replay_rejected,
    )

    if replay and state != "rejected":
        raise UsageProblemError("--replay is for rejected payloads: leave --state out.")
    if replay and process:
        raise UsageProblemError("--replay and --process: one after the other.")
    sources, refused = choose_sources(source or [])
    if process:
        _process([each.name for each in sources if each.webhook], as_json=as_json)
        return
    names = [each.name for each in sources] + [each.name for each in refused]
    url = database_url()
    ensure_schema(url)
    if replay:
        count = replay_rejected(url, names)
        print_json({"replayed": count}) if as_json else print_text(
            f"{count} rejected payloads wait to be processed again."
        )
        return
    entries = list_entries(url, names, state, limit)
    if as_json:
        print_json({"entries": [asdict(entry) for entry in entries]})
    else:
        _print_entries(entries, state, limit)


def _process(names: Sequence[str], *, as_json: bool) -> None:
    """Process what waits for these sources, each in a run of its own."""
    from callkeeper_assets.cli.console import UsageProblemError  # noqa: PLC0415
    from callkeeper_assets.cli.loading import run_and_report  # noqa: PLC0415
    from callkeeper_assets.cli.workers import Task  # noqa: PLC0415

    if not names:
        raise UsageProblemError("None of these sources takes webhooks: there is no `webhook`.")
    if not run_and_report([Task(name, ("--inbox",)) for name in names], as_json=as_json):
        raise typer.Exit(FAILED)


def _print_entries(entries: Sequence["InboxEntry"], state: str, limit: int) -> None:
    from callkeeper_assets.cli.console import (  # noqa: PLC0415
        build_table,
        print_table,
        print_text,
    )

    if not entries:
        print_text(f"No payload is {'a hint' if state == 'hint' else state}.")
        return
    numeric = ("Id", "Bytes", "Repeats")
    table = build_table(
        "Id",
        "Source",
        "Received",
        "Event",
        "Call",
        "Format",
        "Bytes",
        "Repeats",
        "Reason",
        numeric=numeric,
    )
    for entry in entries:
        table.add_row(
            str(entry.id),
            entry.source,
            f"{entry.received_at.astimezone():%Y-%m-%d %H:%M:%S}",
            entry.event or "",
            "" if entry.call_id is None else str(entry.call_id),
            entry.format,
            str(entry.size_bytes),
            str(entry.repeats),
            entry.reason or "",
        )
    print_table(table)
    if len(entries) == limit:
        print_text(f"There may be more; --limit is {limit}.")
    if state == "rejected":
        print_text("When the cause is mended, process them again: callkeeper inbox --replay")
