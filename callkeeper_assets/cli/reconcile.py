"""`callkeeper reconcile`: chosen days of one source compared with the source, and healed."""

from typing import Annotated

import typer

from callkeeper_assets.cli.exits import FAILED


def reconcile(
    source: Annotated[str, typer.Argument(help="The source's name: its folder's name.")],
    *,
    from_day: Annotated[str, typer.Option("--from", metavar="DAY", help="First day, 2026-01-31.")],
    to_day: Annotated[str, typer.Option("--to", metavar="DAY", help="Last day, included.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what differs, and change nothing.")
    ] = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Heal a day also if it comes back empty, or would lose many calls."
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document in place of the tables.")
    ] = False,
) -> None:
    """Find what differs between the tables and CallKeeper, heal it, and print it."""
    from callkeeper_assets.cli.console import print_json  # noqa: PLC0415
    from callkeeper_assets.cli.loading import register_keys, run_and_show  # noqa: PLC0415
    from callkeeper_assets.cli.periods import check_period, read_day  # noqa: PLC0415
    from callkeeper_assets.cli.reconciliation_summary import (  # noqa: PLC0415
        Reconciled,
        build_document,
        print_reconciled,
    )
    from callkeeper_assets.cli.selection import choose_reconcilable_source  # noqa: PLC0415
    from callkeeper_assets.cli.workers import Task  # noqa: PLC0415

    first, last = read_day("--from", from_day), read_day("--to", to_day)
    chosen = choose_reconcilable_source(source)
    # Days that the source does not give any more are left alone, not refused.
    allowed = chosen.first_day(chosen.today())
    begin = allowed if first < allowed <= last else first
    check_period([chosen], begin, last)
    register_keys([chosen])
    arguments = ["--reconcile", "--from", begin.isoformat(), "--to", last.isoformat()]
    arguments += ["--dry-run"] if dry_run else []
    arguments += ["--force"] if force else []
    (outcome,) = run_and_show([Task(chosen.name, tuple(arguments))])
    result = Reconciled(
        outcome=outcome,
        is_dry_run=dry_run,
        heals=chosen.reconciliation.heal and not dry_run,
        left_alone=(begin - first).days,
        file=chosen.file,
    )
    if as_json:
        print_json(build_document(result))
    else:
        print_reconciled(result)
    if outcome.errors or result.left:
        raise typer.Exit(FAILED)
