"""What a load, a refresh or a reconciliation did: a table for people, a document for machines."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from callkeeper_assets.cli.console import (
    build_table,
    open_console,
    print_table,
    print_text,
)
from callkeeper_assets.cli.processes import SourceOutcome
from callkeeper_assets.config.errors import say_count
from callkeeper_assets.language import look_up, mark, say_number, tr
from callkeeper_assets.reconcile.discrepancies import Discrepancy
from callkeeper_assets.warehouse.records import RowCounts

# On a terminal; a pipe gets all of them.
_MOST_ROWS: Final = 50
_KINDS: Final[Mapping[str, str]] = {
    "missing_in_warehouse": mark("missing in the warehouse"),
    "missing_in_source": mark("missing at the source"),
    "differs": mark("differs"),
}


@dataclass(frozen=True)
class Destination:
    """Where what was loaded lies.

    Attributes:
        database: Without the password.
        raw: Folder or URL of the raw calls.
    """

    database: str
    raw: str


def _total_tables(outcome: SourceOutcome) -> dict[str, RowCounts]:
    """Return what all runs of a source did to each table, in the order of the first run."""
    totals: dict[str, RowCounts] = {}
    for run in outcome.runs:
        for table, counts in run.tables.items():
            totals[table] = totals.get(table, RowCounts()) + counts
    return totals


def print_summary(outcomes: Sequence[SourceOutcome], calls: Mapping[str, int]) -> None:
    """Print the table.

    Args:
        outcomes: One for each source.
        calls: Calls that the sources sent for the loaded days, before filters, by source.
    """
    numeric = ("Days", "Calls", "Seconds", "Added", "Updated", "Deleted")
    table = build_table(
        *("Source", "Days", "Calls", "Seconds", "Table", "Added", "Updated", "Deleted"),
        numeric=numeric,
    )
    for outcome in outcomes:
        for index, row in enumerate(_list_rows(outcome)):
            head = _head(outcome, calls) if index == 0 else ("", "", "", "")
            table.add_row(*head, *row)
    print_table(table)


def print_place(place: Destination) -> None:
    """Print where to look."""
    print_text(tr("Tables:    {database}", database=place.database))
    print_text(tr("Raw calls: {raw}", raw=place.raw))
    print_text(tr("Runs, checks, lineage: callkeeper dev"))


def build_document(
    outcomes: Sequence[SourceOutcome], calls: Mapping[str, int], place: Destination
) -> dict[str, Any]:
    """Build what `--json` prints; keys stay as they are between versions."""
    return {
        "ok": not any(outcome.errors for outcome in outcomes),
        "database": place.database,
        "raw": place.raw,
        "sources": [
            {
                "source": outcome.source,
                "ok": not outcome.errors,
                "days": outcome.days,
                "calls": calls.get(outcome.source),
                "seconds": round(outcome.seconds, 2),
                "tables": {table: asdict(one) for table, one in _total_tables(outcome).items()},
                "runs": [
                    {
                        "run_id": run.run_id,
                        "from": run.first,
                        "to": run.last,
                        "other_days": run.others,
                    }
                    for run in outcome.runs
                ],
                "errors": outcome.errors,
            }
            for outcome in outcomes
        ],
    }


def _head(outcome: SourceOutcome, calls: Mapping[str, int]) -> tuple[str, str, str, str]:
    known = calls.get(outcome.source)
    return (
        outcome.source,
        "" if outcome.days is None else say_number(outcome.days),
        "" if known is None else say_number(known),
        say_number(outcome.seconds, ".1f"),
    )


def _list_rows(outcome: SourceOutcome) -> list[tuple[str, str, str, str]]:
    """Return a row for each table that changed; at least one row in all."""
    tables = _total_tables(outcome)
    rows = [
        (table, say_number(one.added), say_number(one.updated), say_number(one.deleted))
        for table, one in tables.items()
        if one != RowCounts()
    ]
    if tables and not rows:
        rows = [(tr("no row changed"), "0", "0", "0")]
    if outcome.errors:
        rows.append((tr("failed, see above"), "", "", ""))
    return rows


@dataclass(frozen=True)
class Reconciled:
    """One reconciliation.

    Attributes:
        heals: whether what differs was to be healed.
        left_alone: days of the period that the source does not give any more.
        file: the source's `defs.yaml`.
    """

    outcome: SourceOutcome
    is_dry_run: bool
    heals: bool
    left_alone: int
    file: Path

    @property
    def discrepancies(self) -> list[Discrepancy]:
        """All that was found, by day, call and parameter."""
        return [one for day in self.outcome.compared for one in day.discrepancies]

    @property
    def left(self) -> int:
        """How many are not healed."""
        return sum(not one.is_healed for one in self.discrepancies)


def build_reconciliation_document(result: Reconciled) -> dict[str, Any]:
    """Build what `--json` prints; keys stay as they are between versions."""
    outcome, found = result.outcome, result.discrepancies
    return {
        "ok": not outcome.errors and not result.left,
        "source": outcome.source,
        "dry_run": result.is_dry_run,
        "heals": result.heals,
        "days": len(outcome.compared),
        "days_left_alone": result.left_alone,
        "calls": sum(day.calls for day in outcome.compared),
        "non_final_calls": sum(day.non_final for day in outcome.compared),
        "waiting_calls": sum(day.waiting for day in outcome.compared),
        "found": len(found),
        "healed": len(found) - result.left,
        "left": result.left,
        "discrepancies": [asdict(one) for one in found],
        "tables": {table: asdict(one) for table, one in _total_tables(outcome).items()},
        "runs": [{"run_id": run.run_id, "from": run.first, "to": run.last} for run in outcome.runs],
        "seconds": round(outcome.seconds, 2),
        "errors": outcome.errors,
    }


def print_reconciled(result: Reconciled) -> None:
    """Print the discrepancies and what became of them."""
    found = result.discrepancies
    if found:
        _print_discrepancies(found)
        _print_totals(found)
    for line in _list_remarks(result):
        print_text(line)


def _print_discrepancies(found: list[Discrepancy]) -> None:
    most = _MOST_ROWS if open_console().is_terminal else len(found)
    table = build_table("Day", "Call", "Parameter", "Warehouse", "Source", "", numeric=("Call",))
    for one in found[:most]:
        table.add_row(
            str(one.day),
            str(one.call_id),
            one.parameter if one.kind == "differs" else look_up(_KINDS[one.kind]),
            one.warehouse_value or "–",
            one.source_value or "–",
            tr("healed") if one.is_healed else tr("open"),
        )
    print_table(table)
    if len(found) > most:
        print_text(tr("And {count:,} more: --json prints them all.\n", count=len(found) - most))


def _print_totals(found: list[Discrepancy]) -> None:
    kinds = Counter(one.parameter if one.kind == "differs" else one.kind for one in found)
    left = Counter(
        one.parameter if one.kind == "differs" else one.kind for one in found if not one.is_healed
    )
    table = build_table("What", "Found", "Healed", "Open", numeric=("Found", "Healed", "Open"))
    for kind, count in sorted(kinds.items()):
        open_ = left[kind]
        table.add_row(
            look_up(_KINDS.get(kind, kind)),
            say_number(count),
            say_number(count - open_),
            say_number(open_),
        )
    print_table(table)


def _list_remarks(result: Reconciled) -> Iterator[str]:
    days = result.outcome.compared
    calls = sum(day.calls for day in days)
    verdict = "" if result.discrepancies else tr(": nothing differs")
    yield tr(
        "Compared: {days}, {calls}{verdict}.",
        days=say_count(len(days), "day"),
        calls=say_count(calls, "call"),
        verdict=verdict,
    )
    non_final, waiting = sum(d.non_final for d in days), sum(d.waiting for d in days)
    if non_final:
        yield tr("Not final yet, and so no discrepancies: {non_final:,}.", non_final=non_final)
    if waiting:
        yield tr(
            "Known from webhooks alone so far, no discrepancies yet: {waiting:,}.", waiting=waiting
        )
    if result.left_alone:
        yield tr(
            "Days left alone, before start_date, history_days or retention: {left_alone:,}.",
            left_alone=result.left_alone,
        )
    if result.is_dry_run:
        yield tr("Dry run: nothing was changed.")
    elif not result.heals:
        yield tr(
            "Healing is off (reconciliation.heal in {file}): only the log was written.",
            file=result.file,
        )
    elif result.left:
        yield tr("What is open was not changed by healing: something else writes to the tables.")
