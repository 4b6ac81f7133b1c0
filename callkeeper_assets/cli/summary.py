"""What a load or a refresh did, as a table for people and as a document for machines."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from callkeeper_assets.cli.console import build_table, print_table, print_text
from callkeeper_assets.cli.workers import Outcome
from callkeeper_assets.runs.messages import TableTotal


@dataclass(frozen=True)
class Place:
    """Where what was loaded lies.

    Attributes:
        database: Without the password.
        raw: Folder or URL of the raw calls.
    """

    database: str
    raw: str


def total_tables(outcome: Outcome) -> list[TableTotal]:
    """Return what all runs of a source did to each table, in the order of the first run."""
    totals: dict[str, TableTotal] = {}
    for run in outcome.runs:
        for table in run.tables:
            old = totals.get(table.table, TableTotal(table.table, 0, 0, 0))
            totals[table.table] = TableTotal(
                table.table,
                old.added + table.added,
                old.updated + table.updated,
                old.deleted + table.deleted,
            )
    return list(totals.values())


def document_tables(outcome: Outcome) -> dict[str, dict[str, int]]:
    """Return the totals as `--json` prints them."""
    return {
        total.table: {"added": total.added, "updated": total.updated, "deleted": total.deleted}
        for total in total_tables(outcome)
    }


def print_summary(outcomes: Sequence[Outcome], calls: Mapping[str, int]) -> None:
    """Print the table.

    Args:
        outcomes: One for each source.
        calls: Calls that the sources sent for the loaded days, before filters, by source.
    """
    numeric = ("Days", "Calls", "Seconds", "Added", "Updated", "Deleted")
    columns = ("Source", "Days", "Calls", "Seconds", "Table", "Added", "Updated", "Deleted")
    table = build_table(*columns, numeric=numeric)
    for outcome in outcomes:
        for index, row in enumerate(_list_rows(outcome)):
            head = _head(outcome, calls) if index == 0 else ("", "", "", "")
            table.add_row(*head, *row)
    print_table(table)


def print_place(place: Place) -> None:
    """Print where to look."""
    print_text(f"Tables:    {place.database}")
    print_text(f"Raw calls: {place.raw}")
    print_text("Runs, checks, lineage: callkeeper dev")


def build_document(
    outcomes: Sequence[Outcome], calls: Mapping[str, int], place: Place
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
                "tables": document_tables(outcome),
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


def _head(outcome: Outcome, calls: Mapping[str, int]) -> tuple[str, str, str, str]:
    known = calls.get(outcome.source)
    return (
        outcome.source,
        "" if outcome.days is None else f"{outcome.days:,}",
        "" if known is None else f"{known:,}",
        f"{outcome.seconds:.1f}",
    )


def _list_rows(outcome: Outcome) -> list[tuple[str, str, str, str]]:
    """Return a row for each table that changed; at least one row in all."""
    tables = total_tables(outcome)
    changed = [table for table in tables if table.added or table.updated or table.deleted]
    rows = [
        (table.table, f"{table.added:,}", f"{table.updated:,}", f"{table.deleted:,}")
        for table in changed
    ]
    if tables and not changed:
        rows = [("no row changed", "0", "0", "0")]
    if outcome.errors:
        rows.append(("failed, see above", "", "", ""))
    return rows
