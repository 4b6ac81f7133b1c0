"""`callkeeper retain`: what a source does not keep any more is deleted, or just counted."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from callkeeper_assets.cli.exits import FAILED

if TYPE_CHECKING:
    from callkeeper_assets.cli.workers import Outcome


def retain(
    source: Annotated[str, typer.Argument(help="The source's name: its folder's name.")],
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be deleted, and delete nothing.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document in place of the table.")
    ] = False,
) -> None:
    """Delete calls older than the source keeps, from everywhere."""
    from callkeeper_assets.cli.console import print_json  # noqa: PLC0415
    from callkeeper_assets.cli.loading import run_and_show  # noqa: PLC0415
    from callkeeper_assets.cli.selection import choose_retained_source  # noqa: PLC0415
    from callkeeper_assets.cli.workers import Task  # noqa: PLC0415

    chosen = choose_retained_source(source)
    arguments = ("--retain", "--dry-run") if dry_run else ("--retain",)
    (outcome,) = run_and_show([Task(chosen.name, arguments)])
    if as_json:
        print_json(_build_document(outcome, dry_run=dry_run))
    else:
        _print_retained(outcome, dry_run=dry_run)
    if outcome.errors:
        raise typer.Exit(FAILED)


def _build_document(outcome: "Outcome", *, dry_run: bool) -> dict[str, Any]:
    """Build what `--json` prints; keys stay as they are between versions."""
    retained = outcome.retained
    return {
        "ok": not outcome.errors,
        "source": outcome.source,
        "dry_run": dry_run,
        "first_kept_day": retained.first_kept if retained else None,
        "places": {
            one.place: {"rows": one.rows, "bytes": one.bytes}
            for one in (retained.places if retained else ())
        },
        "left_for_next_time": retained.left if retained else (),
        "runs": [run.run_id for run in outcome.runs],
        "seconds": round(outcome.seconds, 2),
        "errors": outcome.errors,
    }


def _print_retained(outcome: "Outcome", *, dry_run: bool) -> None:
    from rich import filesize  # noqa: PLC0415

    from callkeeper_assets.cli.console import build_table, print_table, print_text  # noqa: PLC0415

    retained = outcome.retained
    if retained is None:
        return
    verb = "Would be deleted" if dry_run else "Deleted"
    if retained.places:
        table = build_table("Where", verb, "Size", numeric=(verb, "Size"))
        for one in retained.places:
            table.add_row(one.place, f"{one.rows:,}", filesize.decimal(one.bytes))
        print_table(table)
    else:
        print_text(f"Nothing is older than {retained.first_kept}.")
    if retained.left:
        print_text(
            f"Left for the next retention, as loads were under way all the time: rows that nothing "
            f"refers to in {', '.join(retained.left)}."
        )
    if dry_run:
        print_text("Dry run: nothing was changed.")
