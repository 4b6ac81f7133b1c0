"""Commands that start runs: load, refresh, reconcile, retain, report, rebuild, protect."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from callkeeper_assets.cli.console import (
    FAILED,
    AsJson,
    AsJsonOfTables,
    SourceNames,
    UsageProblemError,
)
from callkeeper_assets.language import look_up, say_number, tr

if TYPE_CHECKING:
    from callkeeper_assets.cli.processes import SourceOutcome
    from callkeeper_assets.cli.summary import Reconciled

_Sources = Annotated[
    list[str] | None, typer.Argument(help="Names of sources: their folders' names.")
]
_ToToday = Annotated[
    str | None, typer.Option("--to", metavar="DAY", help="Last day, included. Default: today.")
]


def load(
    source: _Sources = None,
    *,
    from_day: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="DAY",
            help="First day: 2026-01-31, today, yesterday. Default: the first that there is.",
        ),
    ] = None,
    to_day: _ToToday = None,
    everything: Annotated[bool, typer.Option("--all", help="Load all sources.")] = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Replace a day also if it comes back empty, or loses many calls."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Load chosen days. A day that is loaded already is replaced if it changed."""
    from callkeeper_assets.cli.loading import register_keys, run_and_report  # noqa: PLC0415
    from callkeeper_assets.cli.processes import Task  # noqa: PLC0415
    from callkeeper_assets.cli.selection import choose_several, read_periods  # noqa: PLC0415

    sources = choose_several(source or (), everything=everything)
    periods = read_periods(sources, from_day, to_day)
    register_keys(sources)
    more = ("--force",) if force else ()
    tasks = [
        Task(each.name, ("--from", first.isoformat(), "--to", last.isoformat(), *more))
        for each, (first, last) in zip(sources, periods, strict=True)
    ]
    if not run_and_report(tasks, as_json=as_json):
        raise typer.Exit(FAILED)


def refresh(
    source: SourceNames = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Read recent days again, and older ones that hold calls which are not final."""
    from callkeeper_assets.cli.loading import register_keys, run_and_report  # noqa: PLC0415
    from callkeeper_assets.cli.processes import SourceOutcome, Task  # noqa: PLC0415
    from callkeeper_assets.cli.selection import (  # noqa: PLC0415
        choose_good_sources,
        choose_sources,
        describe_broken,
    )
    from callkeeper_assets.config.errors import MissingSecretError  # noqa: PLC0415

    tasks, refused = [], []
    if source:
        chosen = choose_good_sources(source)
        register_keys(chosen)
        tasks = [Task(each.name, ("--refresh",)) for each in chosen]
    else:
        # Nobody named the one that cannot be refreshed: the others are, and it is reported.
        sources, broken = choose_sources([])
        refused = [SourceOutcome(each.name, errors=[describe_broken(each)]) for each in broken]
        for each in sources:
            try:
                register_keys([each])
                tasks.append(Task(each.name, ("--refresh",)))
            except MissingSecretError as error:
                refused.append(SourceOutcome(each.name, errors=[str(error)]))
    if not run_and_report(tasks, as_json=as_json, refused=refused):
        raise typer.Exit(FAILED)


def reconcile(
    source: _Sources = None,
    *,
    from_day: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="DAY",
            help="First day: 2026-01-31, today, yesterday. Default: as by schedule, so many days "
            "before today as reconciliation.days of its defs.yaml says.",
        ),
    ] = None,
    to_day: Annotated[
        str | None,
        typer.Option("--to", metavar="DAY", help="Last day, included. Default: yesterday."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Reconcile all sources.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what differs, and change nothing.")
    ] = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Heal a day also if it comes back empty, or would lose many calls."
        ),
    ] = False,
    as_json: AsJsonOfTables = False,
) -> None:
    """Find what differs between the tables and CallKeeper, heal it, and print it."""
    from callkeeper_assets.cli.loading import register_keys, run_and_show  # noqa: PLC0415
    from callkeeper_assets.cli.processes import Task  # noqa: PLC0415
    from callkeeper_assets.cli.selection import (  # noqa: PLC0415
        choose_reconcilable,
        read_compared_periods,
    )
    from callkeeper_assets.cli.summary import Reconciled  # noqa: PLC0415

    chosen = choose_reconcilable(source or (), everything=everything)
    periods = read_compared_periods(chosen, from_day, to_day)
    register_keys(chosen)
    more = [*(["--dry-run"] if dry_run else ()), *(["--force"] if force else ())]
    outcomes = run_and_show(
        [
            Task(each.name, ("--reconcile", "--from", str(first), "--to", str(last), *more))
            for each, (first, last, _) in zip(chosen, periods, strict=True)
        ]
    )
    results = [
        Reconciled(
            outcome=outcome,
            is_dry_run=dry_run,
            heals=each.reconciliation.heal and not dry_run,
            left_alone=left_alone,
            file=each.file,
        )
        for outcome, each, (_, _, left_alone) in zip(outcomes, chosen, periods, strict=True)
    ]
    _show_reconciled(results, is_one=len(results) == 1 and not everything, as_json=as_json)
    if any(one.outcome.errors or one.left for one in results):
        raise typer.Exit(FAILED)


def _show_reconciled(results: "Sequence[Reconciled]", *, is_one: bool, as_json: bool) -> None:
    from callkeeper_assets.cli.summary import (  # noqa: PLC0415
        build_reconciliation_document,
        print_reconciled,
    )

    if as_json:
        _print_documents([build_reconciliation_document(one) for one in results], is_one=is_one)
        return
    for result in results:
        _print_head(result.outcome.source, is_one=is_one)
        print_reconciled(result)


def _print_documents(documents: Sequence[dict[str, Any]], *, is_one: bool) -> None:
    """Print the document of the one source that was named, or one of all of them."""
    from callkeeper_assets.cli.console import print_json  # noqa: PLC0415

    if is_one:
        print_json(documents[0])
    else:
        print_json({"ok": all(one["ok"] for one in documents), "sources": documents})


def _print_head(source: str, *, is_one: bool) -> None:
    from callkeeper_assets.cli.console import print_text  # noqa: PLC0415

    if not is_one:
        print_text(f"{source}:")


def retain(
    source: _Sources = None,
    *,
    everything: Annotated[
        bool, typer.Option("--all", help="All sources that have a retention.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be deleted, and delete nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Delete calls older than the source keeps, from everywhere."""
    from callkeeper_assets.cli.loading import run_and_show  # noqa: PLC0415
    from callkeeper_assets.cli.processes import Task  # noqa: PLC0415
    from callkeeper_assets.cli.selection import choose_retained  # noqa: PLC0415

    chosen = choose_retained(source or (), everything=everything)
    arguments = ("--retain", "--dry-run") if dry_run else ("--retain",)
    outcomes = run_and_show([Task(each.name, arguments) for each in chosen])
    is_one = len(outcomes) == 1 and not everything
    if as_json:
        documents = [_build_document(one, dry_run=dry_run) for one in outcomes]
        _print_documents(documents, is_one=is_one)
    else:
        for outcome in outcomes:
            _print_head(outcome.source, is_one=is_one)
            print_retained(outcome, dry_run=dry_run)
    if any(one.errors for one in outcomes):
        raise typer.Exit(FAILED)


def _build_document(outcome: "SourceOutcome", *, dry_run: bool) -> dict[str, Any]:
    """Build what `--json` prints; keys stay as they are between versions."""
    retained = outcome.retained
    return {
        "ok": not outcome.errors,
        "source": outcome.source,
        "dry_run": dry_run,
        "first_kept_day": retained.first_kept if retained else None,
        "places": {
            place: {"rows": one.rows, "bytes": one.bytes}
            for place, one in (retained.places if retained else {}).items()
        },
        "left_for_next_time": sorted(retained.left) if retained else (),
        "runs": [run.run_id for run in outcome.runs],
        "seconds": round(outcome.seconds, 2),
        "errors": outcome.errors,
    }


def print_retained(outcome: "SourceOutcome", *, dry_run: bool) -> None:
    """Print what was deleted, or would be, and what is left for the next time."""
    from callkeeper_assets.cli.console import (  # noqa: PLC0415
        build_table,
        print_table,
        print_text,
        say_size,
    )

    retained = outcome.retained
    if retained is None:
        return
    verb = tr("Would be deleted") if dry_run else tr("Deleted")
    if retained.places:
        table = build_table("Where", verb, "Size", numeric=(verb, "Size"))
        for place, one in retained.places.items():
            table.add_row(look_up(place), say_number(one.rows), say_size(one.bytes))
        print_table(table)
    else:
        print_text(tr("Nothing is older than {first_kept}.", first_kept=retained.first_kept))
    if retained.left:
        print_text(
            tr(
                "Left for the next retention, as loads were under way all the time: rows that "
                "nothing refers to in {names}.",
                names=", ".join(sorted(retained.left)),
            )
        )
    if dry_run:
        print_text(tr("Dry run: nothing was changed."))


def report(
    source: _Sources = None,
    *,
    name: Annotated[str, typer.Argument(help="The report's name in the source's defs.yaml.")],
    from_day: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="DAY",
            help="First day: 2026-01-31, today, yesterday. Default: the first that is kept.",
        ),
    ] = None,
    to_day: _ToToday = None,
    everything: Annotated[
        bool, typer.Option("--all", help="All sources that have such a report.")
    ] = False,
    preview: Annotated[
        bool,
        typer.Option(
            "--preview", help="Print the first rows, of raw calls alone, and write nothing."
        ),
    ] = False,
    as_json: AsJsonOfTables = False,
) -> None:
    """Build a custom report from raw calls that are there; CallKeeper is asked nothing."""
    from callkeeper_assets.cli.loading import run_and_report  # noqa: PLC0415
    from callkeeper_assets.cli.processes import Task  # noqa: PLC0415
    from callkeeper_assets.cli.report_preview import show_preview  # noqa: PLC0415
    from callkeeper_assets.cli.selection import (  # noqa: PLC0415
        choose_reported,
        read_report_period,
    )

    chosen = choose_reported(source or (), name, everything=everything)
    if preview and len(chosen) > 1:
        raise UsageProblemError(tr("--preview shows one source: name it."))
    periods = [read_report_period(each, from_day, to_day) for each in chosen]
    wanted = chosen[0].report(name)
    if preview and wanted:
        is_done = show_preview(chosen[0], wanted, *periods[0], as_json=as_json)
    else:
        tasks = [
            Task(each.name, ("--report", name, "--from", str(first), "--to", str(last)))
            for each, (first, last) in zip(chosen, periods, strict=True)
        ]
        is_done = run_and_report(tasks, as_json=as_json)
    if not is_done:
        raise typer.Exit(FAILED)


def rebuild(
    source: SourceNames = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Fill days again that an older version filled; CallKeeper is asked for nothing.

    The next refresh does it by itself. Each day is replaced as a whole: interrupted, it goes on
    with the days that are left.
    """
    from callkeeper_assets.cli.console import print_note  # noqa: PLC0415
    from callkeeper_assets.cli.loading import run_and_report  # noqa: PLC0415
    from callkeeper_assets.cli.processes import SourceOutcome, Task  # noqa: PLC0415
    from callkeeper_assets.cli.selection import (  # noqa: PLC0415
        choose_good_sources,
        choose_sources,
        describe_broken,
    )
    from callkeeper_assets.config.errors import say_count  # noqa: PLC0415
    from callkeeper_assets.postgres.url import database_url  # noqa: PLC0415
    from callkeeper_assets.warehouse.queries import outdated_days  # noqa: PLC0415

    chosen, broken = (choose_good_sources(source), []) if source else choose_sources([])
    is_done = run_and_report(
        [Task(each.name, ("--rebuild",)) for each in chosen],
        as_json=as_json,
        refused=[SourceOutcome(each.name, errors=[describe_broken(each)]) for each in broken],
    )
    for each in chosen if is_done else ():
        left = outdated_days(database_url(), each.name)
        if left:
            print_note(
                tr(
                    "{name}: {count} of {first} to {last} stay as they were, their raw calls are "
                    "not there. Load them from CallKeeper, as far as it gives them: callkeeper "
                    "load {name} --from {first} --to {last}",
                    name=each.name,
                    count=say_count(len(left), "day"),
                    first=left[0],
                    last=left[-1],
                )
            )
    if not is_done:
        raise typer.Exit(FAILED)


def protect(
    source: Annotated[str, typer.Argument(help="The source's name: its folder's name.")],
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be rewritten, and change nothing.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document in place of the text.")
    ] = False,
) -> None:
    """Apply the privacy settings to stored calls, which the settings alone leave as they are."""
    from callkeeper_assets.cli.console import (  # noqa: PLC0415
        print_json,
        print_text,
    )
    from callkeeper_assets.cli.loading import run_and_show  # noqa: PLC0415
    from callkeeper_assets.cli.processes import Task  # noqa: PLC0415
    from callkeeper_assets.cli.selection import choose_good_sources  # noqa: PLC0415
    from callkeeper_assets.config.errors import say_count  # noqa: PLC0415

    (chosen,) = choose_good_sources([source])
    arguments = ("--protect", "--dry-run") if dry_run else ("--protect",)
    (outcome,) = run_and_show([Task(chosen.name, arguments)])
    done = outcome.document
    if done is not None and as_json:
        print_json(done)
    elif done is not None:
        verb = tr("would change") if dry_run else tr("changed")
        print_text(
            tr(
                "{source} ({rule}): {calls} in {files} and {payloads} {verb}.",
                source=source,
                rule=done["rule"],
                calls=say_count(done["calls"], "raw call"),
                files=say_count(done["files"], "file"),
                payloads=say_count(done["payloads"], "payload"),
                verb=verb,
            )
        )
    if outcome.errors:
        raise typer.Exit(FAILED)
