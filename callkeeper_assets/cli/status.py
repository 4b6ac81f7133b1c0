"""Commands that ask: `check`, `status`, `history`, webhooks' `inbox`."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from callkeeper_assets.cli.console import FAILED, AsJson, SourceNames
from callkeeper_assets.language import look_up, mark, say_number, tr
from callkeeper_assets.local_time import show_moment

if TYPE_CHECKING:
    from callkeeper_assets.cli.source_status import (
        BackupReport,
        Coverage,
        DaemonReport,
        LastLoad,
        SourceReport,
        StatusReport,
    )
    from callkeeper_assets.plans import Freshness
    from callkeeper_assets.webhooks.audit import AuditStatus
    from callkeeper_assets.webhooks.inbox_queries import InboxCounts, InboxEntry

# What a load does with rows.
_ACTIONS: Final = (mark("added"), mark("updated"), mark("deleted"))
_MOST: Final = 100
_MOST_GAPS: Final = 3
_SAID_ABOVE: Final = ("load_failed", "source_refused", "key_missing")
# Up to then an age is said in hours.
_HOURS_IN_DAYS: Final = 48


def status(
    source: SourceNames = None,
    *,
    fail: Annotated[
        bool, typer.Option("--fail", help="Exit with 1 if anything needs a person.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show what is loaded: days, calls, rows of this month, and what needs a person."""
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
    if fail and report.needs:
        raise typer.Exit(FAILED)


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
        print_text(tr("Added, updated, deleted: rows of all tables since the first of this month."))
        for each in report.sources:
            for line in _describe_details(each):
                print_text(f"{each.name}: {line}")
    for each in report.sources:
        if each.last_load and each.last_load.error:
            print_warning(
                tr(
                    "{name}: the last load failed for {days_failed} day(s); first: {error}",
                    name=each.name,
                    days_failed=each.last_load.days_failed,
                    error=each.last_load.error,
                )
            )
    for broken in report.refused:
        print_error(describe_broken(broken))
    _print_needs(report)
    print_text("\n".join(_describe_places(report)))
    if not report.sources and not report.refused:
        print_text(explain_no_source())
    elif report.sources and not any(each.loaded for each in report.sources):
        name = report.sources[0].name
        print_text(
            tr(
                "Nothing is loaded yet. Type: callkeeper check, then\n  callkeeper load {name} "
                "--from DAY --to DAY     (days as 2026-01-31)",
                name=name,
            )
        )


def _print_needs(report: "StatusReport") -> None:
    from callkeeper_assets.cli.console import print_warning  # noqa: PLC0415

    # Said above already, each in its own words.
    needs = [one for one in report.needs if one.kind not in _SAID_ABOVE]
    if needs:
        print_warning(tr("Needs a person:"))
        for need in needs:
            print_warning(f"  {need.text}\n    {need.remedy}")


def _describe_places(report: "StatusReport") -> Iterator[str]:
    from callkeeper_assets.cli.serving import describe_reader  # noqa: PLC0415
    from callkeeper_assets.postgres.url import database_url  # noqa: PLC0415

    size = report.database.size_bytes
    shown = tr("not made yet") if size is None else tr("{size:,.0f} MB", size=size / 1e6)
    yield tr("Database: {url} ({shown})", url=report.database.url, shown=shown)
    if report.daemon:
        reader, remark = describe_reader(database_url())
        yield tr("For BI:   {url}", url=reader)
        yield f"          {remark}"
        yield tr("Daemon:   {daemon}", daemon=_describe_daemon(report.daemon))
    if report.backup:
        yield tr("Backup:   {backup}", backup=_describe_backup(report.backup))


def _describe_daemon(known: "DaemonReport") -> str:
    if known.is_running:
        state = tr("runs")
    elif known.seen_at:
        since = show_moment(known.seen_at)
        state = tr("has not been seen since {since}: nothing is loaded by schedule", since=since)
    else:
        state = tr("has never run: nothing is loaded by schedule. Start it: callkeeper dev")
    if not known.switched_off:
        return state
    return tr(
        "{state}. Switched off in Dagster's UI: {names}",
        state=state,
        names=", ".join(known.switched_off),
    )


def _describe_backup(known: "BackupReport") -> str:
    if known.problem:
        return known.problem
    if known.made_at is None:
        return tr("none yet at {place}: callkeeper backup", place=known.place)
    hours = (datetime.now(UTC) - known.made_at).total_seconds() / 3600
    age = (
        tr("{hours:.0f} hours", hours=hours)
        if hours < _HOURS_IN_DAYS
        else tr("{days:.0f} days", days=hours / 24)
    )
    return tr(
        "the newest at {place} is {age} old ({name})", place=known.place, age=age, name=known.name
    )


def _name(each: "SourceReport") -> str:
    return each.name if each.caption == each.name else f"{each.name} ({each.caption})"


def _build_row(each: "SourceReport") -> tuple[str, ...]:
    key = (
        tr("set")
        if each.has_key
        else tr("{key_variable} is not set", key_variable=each.key_variable)
    )
    loaded = each.loaded
    if loaded is None:
        return (_name(each), "", "", "", "", "", "", _describe_load(each.last_load), key)
    return (
        _name(each),
        str(loaded.first_day or ""),
        str(loaded.last_day or ""),
        say_number(loaded.calls),
        say_number(loaded.rows_added),
        say_number(loaded.rows_updated),
        say_number(loaded.rows_deleted),
        _describe_load(each.last_load),
        key,
    )


def _describe_details(each: "SourceReport") -> Iterator[str]:
    from callkeeper_assets.config.errors import say_count  # noqa: PLC0415

    if each.coverage and each.loaded:
        yield from _describe_coverage(each.name, each.coverage)
    yield tr("next refresh: {moment}", moment=show_moment(each.next_refresh))
    if each.loaded and each.loaded.outdated_days:
        yield (
            tr(
                "{count} filled by an older version of this program: callkeeper rebuild {name}",
                count=say_count(each.loaded.outdated_days, "day"),
                name=each.name,
            )
        )
    if each.freshness and each.freshness.missing_since:
        yield _describe_missing(each.freshness, each.freshness.missing_since)
    yield _describe_reconciliation(each)
    if each.takes_webhooks or (each.webhooks and each.webhooks.newest_at):
        yield _describe_webhooks(each.webhooks)
    if each.hinted_days:
        yield (
            tr(
                "call tracking's webhooks hint at calls; to be read again: {names}",
                names=", ".join(map(str, each.hinted_days)),
            )
        )
    if each.audit:
        yield _describe_audit(each.audit)


def _describe_coverage(name: str, known: "Coverage") -> Iterator[str]:
    days = tr(
        "{loaded:,} of {asked:,} days from {first} to yesterday are loaded",
        loaded=known.loaded,
        asked=known.asked,
        first=known.first,
    )
    if not known.gaps:
        yield days
        return
    yield tr(
        "{days}; {asked:,} are missing. To load them:", days=days, asked=known.asked - known.loaded
    )
    for gap in known.gaps[:_MOST_GAPS]:
        yield tr(
            "  callkeeper load {name} --from {first} --to {last}",
            name=name,
            first=gap.first,
            last=gap.last,
        )
    if len(known.gaps) > _MOST_GAPS:
        yield tr(
            "  and {count} more stretches: --json lists them all",
            count=len(known.gaps) - _MOST_GAPS,
        )


def _describe_missing(known: "Freshness", since: datetime) -> str:
    moment = show_moment(since)
    return tr(
        "{due_day} is missing, the newest day loaded is {newest_day}: no refresh has brought a "
        "newer one since {moment}",
        due_day=known.due_day,
        newest_day=known.newest_day,
        moment=moment,
    )


def _describe_reconciliation(each: "SourceReport") -> str:
    known = each.reconciliation
    if known is None or known.last is None:
        return tr("never compared with the source")
    moment = show_moment(known.last)
    return tr(
        "compared with the source on {moment}; this month {found:,} discrepancies found, "
        "{healed:,} healed; open: {open:,}",
        moment=moment,
        found=known.found,
        healed=known.healed,
        open=known.open,
    )


def _describe_webhooks(known: "InboxCounts | None") -> str:
    if known is None or known.newest_at is None:
        return tr(
            "no webhook has come yet; `callkeeper check` prints the URL for CallKeeper's cabinet"
        )
    waiting = tr("none waits")
    if known.oldest_new_at:
        seconds = (datetime.now(UTC) - known.oldest_new_at).total_seconds()
        waiting = tr(
            "{new:,} wait, the oldest for {seconds:,} s",
            new=known.new,
            seconds=max(0, round(seconds)),
        )
    hints = tr("; {hints:,} hints of call tracking", hints=known.hints) if known.hints else ""
    rejected = (
        tr("; {rejected:,} rejected: callkeeper inbox", rejected=known.rejected)
        if known.rejected
        else ""
    )
    last = show_moment(known.newest_at)
    return tr(
        "last webhook on {last}; {waiting}{hints}{rejected}",
        last=last,
        waiting=waiting,
        hints=hints,
        rejected=rejected,
    )


def _describe_audit(known: "AuditStatus") -> str:
    from callkeeper_assets.webhooks.audit import rate_loss  # noqa: PLC0415

    if known.days_unlisted and not known.days_listed:
        return tr("webhooks not audited: the source's answers list no webhooks")
    moment = show_moment(known.last)
    unlisted = ""
    if known.days_unlisted:
        unlisted = tr(
            "; {days_unlisted} days not audited: the source's answers list no webhooks",
            days_unlisted=known.days_unlisted,
        )
    named = tr("; callkeeper_lost_webhooks names them") if known.lost or known.refused else ""
    return tr(
        "webhooks audited on {moment}: for the calls of the last 30 days CallKeeper sent "
        "{sent:,}; {lost:,} are lost ({loss:.1%}), {refused:,} were refused{named}{unlisted}",
        moment=moment,
        sent=known.sent,
        lost=known.lost,
        loss=rate_loss(known.sent, known.lost),
        refused=known.refused,
        named=named,
        unlisted=unlisted,
    )


def _describe_load(last: "LastLoad | None") -> str:
    if last is None:
        return "never"
    moment = show_moment(last.finished_at)
    return tr("{moment} failed", moment=moment) if last.error else moment


if TYPE_CHECKING:
    from callkeeper_assets.warehouse.queries import CallEvent, CallHistory, PresentCall


def history(
    call_id: Annotated[
        int, typer.Argument(help="The call's id in CallKeeper, or its id over all services.")
    ],
    *,
    source: Annotated[
        list[str] | None, typer.Option("--source", help="Name of a source. Default: all.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what touched one call: loads of its day, webhooks, discrepancies; and what it is now."""
    from dataclasses import asdict  # noqa: PLC0415

    from callkeeper_assets.cli.console import print_error, print_json  # noqa: PLC0415
    from callkeeper_assets.cli.selection import choose_sources  # noqa: PLC0415
    from callkeeper_assets.postgres.url import database_url  # noqa: PLC0415
    from callkeeper_assets.warehouse.migrate import ensure_schema  # noqa: PLC0415
    from callkeeper_assets.warehouse.queries import read_history  # noqa: PLC0415

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
            print_error(
                tr(
                    "Nothing is known of call {call_id} in {names}: no row, no webhook.",
                    call_id=call_id,
                    names=names,
                )
            )
        raise typer.Exit(FAILED)


def _print_histories(found: "Sequence[CallHistory]") -> None:
    from callkeeper_assets.cli.console import build_table, print_table, print_text  # noqa: PLC0415

    for one in found:
        table = build_table("When", "Day", "What", "Run")
        for event in one.events:
            table.add_row(
                show_moment(event.at, seconds=True),
                str(event.day or ""),
                _describe(event),
                event.run_id or "",
            )
        print_text(tr("Call {call_id} of {source}", call_id=one.call_id, source=one.source))
        print_table(table)
        print_text(_describe_present(one.present))


def _describe(event: "CallEvent") -> str:
    details = event.details
    match event.kind:
        case "load":
            if details["error"]:
                return tr("load failed: {error}", error=details["error"])
            changes = "; ".join(
                f"{table} "
                + ", ".join(
                    f"{say_number(rows)} {look_up(action)}"
                    for action, rows in counts.items()
                    if rows
                )
                for table, counts in sorted(details["tables"].items())
            )
            return tr(
                "day loaded ({origin}): {changes}",
                origin=details["origin"],
                changes=changes or tr("nothing changed"),
            )
        case "webhook":
            again = (
                tr(", came {repeats} times more", repeats=details["repeats"])
                if details["repeats"]
                else ""
            )
            reason = f" ({details['reason']})" if details["reason"] else ""
            name = details["event"] or tr("without an event")
            return tr(
                "webhook {name}: {state}{reason}{again}",
                name=name,
                state=details["state"],
                reason=reason,
                again=again,
            )
        case "lost":
            return _describe_lost(event)
        case "found" | "healed" | "gone":
            ended = tr("found gone") if event.kind == "gone" else event.kind
            return tr(
                "discrepancy {ended}: {discrepancy}",
                ended=ended,
                discrepancy=_describe_discrepancy(event),
            )


def _describe_lost(event: "CallEvent") -> str:
    details = event.details
    name = details["event"] or tr("without an event")
    answer = details["status"] or tr("no answer")
    held = tr("it came another time") if details["is_held"] else tr("it is not in the inbox")
    return tr(
        "webhook {name} {kind}: CallKeeper saw {answer}, {held}",
        name=name,
        kind=details["kind"],
        answer=answer,
        held=held,
    )


def _describe_discrepancy(event: "CallEvent") -> str:
    details = event.details
    if details["kind"] != "differs":
        return str(details["kind"]).replace("_", " ")
    values = (details["warehouse_value"], details["source_value"])
    warehouse, source = ("nothing" if value is None else value for value in values)
    return tr(
        "{parameter} was {warehouse}, the source says {source}",
        parameter=details["parameter"],
        warehouse=warehouse,
        source=source,
    )


def _describe_present(present: "PresentCall | None") -> str:
    if present is None:
        return tr("Now: not in the tables.")
    finality = tr("final") if present.is_final else tr("not final")
    numbers = ", ".join(
        f"{name} {value}"
        for name in ("duration_sec", "duration2_sec", "attempt", "asr_attempts", "playback_tick")
        if (value := getattr(present, name)) is not None
    )
    called, loaded = (
        show_moment(moment, seconds=True) for moment in (present.called_at, present.loaded_at)
    )
    return tr(
        "Now: {status}, {finality}, called {called}, origin {origin}, written {loaded}; {numbers}.",
        status=present.status or tr("status unknown"),
        finality=finality,
        called=called,
        origin=present.origin,
        loaded=loaded,
        numbers=numbers or tr("without numbers"),
    )


def check(
    source: SourceNames = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Check configuration, keys, database and folders. Loads nothing."""
    from dataclasses import asdict  # noqa: PLC0415

    from callkeeper_assets.cli.checks import (  # noqa: PLC0415  # noqa: PLC0415
        SUBJECT,
        Finding,
        check_broker,
        check_dagster_home,
        check_database,
        check_home,
        check_privacy,
        check_raw_store,
        check_secrecy,
        check_zone_rules,
        print_findings,
    )
    from callkeeper_assets.cli.console import print_json  # noqa: PLC0415
    from callkeeper_assets.cli.selection import (  # noqa: PLC0415
        choose_sources,
        explain_no_source,
        has_sources,
    )
    from callkeeper_assets.cli.source_checks import (  # noqa: PLC0415
        check_sources,
        describe_refused,
    )

    database = check_database()
    # Of the embedded one that is yet to be made there is one finding, of tables none.
    has_database = len(database) > 1
    installation = [check_dagster_home(), check_home(), *check_secrecy(), check_zone_rules()]
    findings = [*installation, *database, check_raw_store(), *check_broker()]
    if not source and not has_sources():
        findings.append(Finding(SUBJECT, "sources", "warning", explain_no_source()))
    else:
        sources, broken = choose_sources(source or [])
        findings += check_sources(sources, has_database=has_database)
        findings += check_privacy(sources, has_database=has_database)
        findings += [finding for refused in broken for finding in describe_refused(refused)]
    has_failed = any(finding.state == "bad" for finding in findings)
    if as_json:
        print_json({"ok": not has_failed, "findings": [asdict(finding) for finding in findings]})
    else:
        print_findings(findings)
    if has_failed:
        raise typer.Exit(FAILED)


def inbox(
    source: SourceNames = None,
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
    as_json: AsJson = False,
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
        raise UsageProblemError(tr("--replay is for rejected payloads: leave --state out."))
    if replay and process:
        raise UsageProblemError(tr("--replay and --process: one after the other."))
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
            tr("{count} rejected payloads wait to be processed again.", count=count)
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
    from callkeeper_assets.cli.processes import Task  # noqa: PLC0415

    if not names:
        raise UsageProblemError(tr("None of these sources takes webhooks: there is no `webhook`."))
    if not run_and_report([Task(name, ("--inbox",)) for name in names], as_json=as_json):
        raise typer.Exit(FAILED)


def _print_entries(entries: Sequence["InboxEntry"], state: str, limit: int) -> None:
    from callkeeper_assets.cli.console import (  # noqa: PLC0415
        build_table,
        print_table,
        print_text,
    )

    if not entries:
        print_text(tr("No payload is {state}.", state="a hint" if state == "hint" else state))
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
            show_moment(entry.received_at, seconds=True),
            entry.event or "",
            "" if entry.call_id is None else str(entry.call_id),
            entry.format,
            str(entry.size_bytes),
            str(entry.repeats),
            entry.reason or "",
        )
    print_table(table)
    if len(entries) == limit:
        print_text(tr("There may be more; --limit is {limit}.", limit=limit))
    if state == "rejected":
        print_text(tr("When the cause is mended, process them again: callkeeper inbox --replay"))
