"""`callkeeper status`: what is loaded of each source, how the last load went, what differs."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from callkeeper_assets.cli.source_status import LastLoad, SourceReport, StatusReport
    from callkeeper_assets.runs.freshness import Freshness
    from callkeeper_assets.webhooks.audit_log import AuditStatus
    from callkeeper_assets.webhooks.inbox_queries import InboxCounts


def status(
    source: Annotated[
        list[str] | None, typer.Argument(help="Names of sources. Default: all.")
    ] = None,
    *,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document in place of the table.")
    ] = False,
) -> None:
    """Show what is loaded: days, calls, rows of this month, how the last load went."""
    from dataclasses import asdict  # noqa: PLC0415

    from callkeeper_assets.cli.console import print_json  # noqa: PLC0415
    from callkeeper_assets.cli.selection import (  # noqa: PLC0415
        choose_sources,
        has_sources,
    )
    from callkeeper_assets.cli.source_status import gather_status  # noqa: PLC0415

    sources, refused = choose_sources(source or []) if source or has_sources() else ([], [])
    report = gather_status(sources, refused)
    if as_json:
        print_json(asdict(report))
    else:
        _print_report(report)


def _print_report(report: "StatusReport") -> None:
    from callkeeper_assets.cli.console import (  # noqa: PLC0415
        build_table,
        print_error,
        print_table,
        print_text,
        print_warning,
    )
    from callkeeper_assets.cli.selection import (  # noqa: PLC0415
        describe_broken,
        explain_no_source,
    )

    if report.sources:
        table = build_table(
            "Source",
            "First day",
            "Last day",
            "Calls",
            "Added",
            "Updated",
            "Deleted",
            "Last load",
            "Key",
            numeric=("Calls", "Added", "Updated", "Deleted"),
        )
        for each in report.sources:
            table.add_row(*_build_row(each))
        print_table(table)
        print_text("Added, updated, deleted: rows of all tables since the first of this month.")
        for each in report.sources:
            for line in _describe_details(each):
                print_text(f"{each.name}: {line}")
    for each in report.sources:
        if each.last_load and each.last_load.error:
            print_warning(
                f"{each.name}: {each.last_load.days_failed} days failed in the last load; "
                f"the first one: {each.last_load.error}"
            )
    for broken in report.refused:
        print_error(describe_broken(broken))
    size = report.database.size_bytes
    shown = "not made yet" if size is None else f"{size / 1e6:,.0f} MB"
    print_text(f"Database: {report.database.url} ({shown})")
    if not report.sources and not report.refused:
        print_text(explain_no_source())
    elif report.sources and not any(each.loaded for each in report.sources):
        name = report.sources[0].name
        print_text(
            f"Nothing is loaded yet. Type: callkeeper check, then\n"
            f"  callkeeper load {name} --from DAY --to DAY     (days as 2026-01-31)"
        )


def _build_row(each: "SourceReport") -> tuple[str, ...]:
    key = "set" if each.has_key else f"{each.key_variable} is not set"
    loaded = each.loaded
    if loaded is None:
        return (each.name, "", "", "", "", "", "", _describe_load(each.last_load), key)
    return (
        each.name,
        str(loaded.first_day or ""),
        str(loaded.last_day or ""),
        f"{loaded.calls:,}",
        f"{loaded.rows_added:,}",
        f"{loaded.rows_updated:,}",
        f"{loaded.rows_deleted:,}",
        _describe_load(each.last_load),
        key,
    )


def _describe_details(each: "SourceReport") -> Iterator[str]:
    from callkeeper_assets.cli.console import say_count  # noqa: PLC0415

    if each.loaded and each.loaded.outdated_days:
        yield (
            f"{say_count(each.loaded.outdated_days, 'day')} filled by an older version of this "
            f"program: callkeeper rebuild {each.name}"
        )
    if each.freshness and each.freshness.missing_since:
        yield _describe_missing(each.freshness, each.freshness.missing_since)
    yield _describe_reconciliation(each)
    if each.takes_webhooks or (each.webhooks and each.webhooks.newest_at):
        yield _describe_webhooks(each.webhooks)
    if each.hinted_days:
        yield (
            "call tracking's webhooks hint at calls; to be read again: "
            f"{', '.join(map(str, each.hinted_days))}"
        )
    if each.audit:
        yield _describe_audit(each.audit)


def _describe_missing(known: "Freshness", since: datetime) -> str:
    moment = since.astimezone().strftime("%Y-%m-%d %H:%M")
    return (
        f"{known.due_day} is missing, the newest day loaded is {known.newest_day}: no refresh has "
        f"brought a newer one since {moment}"
    )


def _describe_reconciliation(each: "SourceReport") -> str:
    known = each.reconciliation
    if known is None or known.last is None:
        return "never compared with the source"
    moment = known.last.astimezone().strftime("%Y-%m-%d %H:%M")
    return (
        f"compared with the source on {moment}; this month {known.found:,} discrepancies found, "
        f"{known.healed:,} healed; open: {known.open:,}"
    )


def _describe_webhooks(known: "InboxCounts | None") -> str:
    if known is None or known.newest_at is None:
        return "no webhook has come yet; `callkeeper check` prints the URL for CallKeeper's cabinet"
    waiting = "none waits"
    if known.oldest_new_at:
        seconds = (datetime.now(UTC) - known.oldest_new_at).total_seconds()
        waiting = f"{known.new:,} wait, the oldest for {max(0, round(seconds)):,} s"
    hints = f"; {known.hints:,} hints of call tracking" if known.hints else ""
    rejected = f"; {known.rejected:,} rejected: callkeeper inbox" if known.rejected else ""
    last = known.newest_at.astimezone().strftime("%Y-%m-%d %H:%M")
    return f"last webhook on {last}; {waiting}{hints}{rejected}"


def _describe_audit(known: "AuditStatus") -> str:
    from callkeeper_assets.webhooks.audit import rate_loss  # noqa: PLC0415

    if known.days_unlisted and not known.days_listed:
        return "webhooks not audited: the source's answers list no webhooks"
    moment = known.last.astimezone().strftime("%Y-%m-%d %H:%M")
    unlisted = ""
    if known.days_unlisted:
        unlisted = (
            f"; {known.days_unlisted} days not audited: the source's answers list no webhooks"
        )
    named = "; callkeeper_lost_webhooks names them" if known.lost or known.refused else ""
    return (
        f"webhooks audited on {moment}: for the calls of the last 30 days CallKeeper sent "
        f"{known.sent:,}; {known.lost:,} are lost ({rate_loss(known.sent, known.lost):.1%}), "
        f"{known.refused:,} were refused{named}{unlisted}"
    )


def _describe_load(last: "LastLoad | None") -> str:
    if last is None:
        return "never"
    moment = last.finished_at.astimezone().strftime("%Y-%m-%d %H:%M")
    return f"{moment} failed" if last.error else moment
