"""Commands on one client's data: `forget`, `export`; `erasures`, the record for an auditor."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from callkeeper_assets.cli.console import FAILED, AsJson, AsJsonOfTables, UsageProblemError
from callkeeper_assets.language import mark, say_number, tr
from callkeeper_assets.local_time import show_moment

if TYPE_CHECKING:
    from callkeeper_assets.cli.processes import SourceOutcome

_FROM_INPUT: Final = "-"
# In place of a source's name: a client is looked for in all of them.
ALL: Final = "all-sources"


def forget(
    phone: Annotated[
        str,
        typer.Argument(
            help="The client's number, written in any way; - reads it from standard input, and "
            "without it a terminal asks: so it is in no shell's history."
        ),
    ] = "",
    *,
    reference: Annotated[
        str,
        typer.Option(
            "--reference",
            metavar="TEXT",
            help="On whose word, for the record: request 17 of 2026-11-20. No number in it.",
        ),
    ] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be erased, and change nothing.")
    ] = False,
    as_json: AsJsonOfTables = False,
) -> None:
    """Erase one client's number, and what else tells of that client, everywhere.

    Then all is searched again, by other means; exit code 1 if anything similar is left.
    """
    from callkeeper_assets.cli.console import print_json  # noqa: PLC0415
    from callkeeper_assets.config.errors import ConfigError  # noqa: PLC0415
    from callkeeper_assets.personal_data.requests import (  # noqa: PLC0415
        check_reference,
        name_request,
    )

    number = read_number(phone)
    try:
        said = check_reference(reference, number)
    except ConfigError as error:
        raise UsageProblemError(str(error)) from None
    check_all_sources()
    options = [*(["--reference", said] if said else []), *(["--dry-run"] if dry_run else [])]
    outcome = run_for_client("forget", name_request("forget"), number, *options)
    document = outcome.document
    if document is not None and as_json:
        print_json(document)
    elif document is not None:
        _print_result(document)
    if outcome.errors:
        raise typer.Exit(FAILED)


def _print_result(document: dict[str, Any]) -> None:
    from callkeeper_assets.cli.console import (  # noqa: PLC0415
        build_table,
        print_table,
        print_text,
    )
    from callkeeper_assets.config.errors import say_count  # noqa: PLC0415

    found = document["found"]
    names = {
        "calls": mark("Calls"),
        "mentions": mark("Mentions"),
        "raw_files": mark("Raw files"),
        "raw_calls": mark("Raw calls"),
        "payloads": mark("Payloads"),
    }
    table = build_table("Source", *names.values(), numeric=tuple(names.values()))
    for one in found["sources"]:
        table.add_row(one["source"], *(say_number(one[name]) for name in names))
    print_table(table)
    if found["rows"]:
        rows = build_table("Table", "Rows with the number", numeric=("Rows with the number",))
        for name, count in found["rows"].items():
            rows.add_row(name, say_number(count))
        print_table(rows)
    for one in found["sources"]:
        if one["of_manager"]:
            print_text(
                tr(
                    "{source}: {calls} have the number as the manager's: the company's own side "
                    "is left.",
                    source=one["source"],
                    calls=say_count(one["of_manager"], "call"),
                )
            )
        if one["masked"]:
            print_text(
                tr(
                    "{source}: {calls} have a masked number that can be this one: nobody can "
                    "tell, so they are left.",
                    source=one["source"],
                    calls=say_count(one["masked"], "raw call"),
                )
            )
    print_places(document["similar"])
    print_text(_conclude(document))


def print_places(places: list[dict[str, Any]]) -> None:
    """Print where similar digits are, for a person to decide."""
    from callkeeper_assets.cli.console import build_table, print_table  # noqa: PLC0415

    if not places:
        return
    table = build_table("The same last nine digits", "Count", "Calls", numeric=("Count",))
    for one in places:
        calls = ", ".join(str(call) for call in one["calls"])
        table.add_row(one["place"], say_number(one["count"]), calls)
    print_table(table)


def _conclude(document: dict[str, Any]) -> str:
    found = document["found"]
    counts = [one[name] for one in found["sources"] for name in ("calls", "mentions", "payloads")]
    is_nowhere = not any(counts) and not found["rows"]
    if document["dry_run"]:
        return tr("The number is nowhere.") if is_nowhere else tr("A dry run: nothing was changed.")
    if document["problems"]:
        return tr("Not all could be erased; what was, stays erased.")
    said = (
        tr("The number is nowhere.")
        if is_nowhere
        else tr("Erased, and looked for again in two ways.")
    )
    if document["similar"]:
        said += tr(
            " Somebody has to look at the places above: they may be another's, or no number."
        )
    if document["request_id"]:
        said += tr(" In callkeeper_erasures: {request_id}.", request_id=document["request_id"])
    if not is_nowhere:
        said += tr(" Backups, and what was sent elsewhere, are yours to see to.")
    return said


def export(
    phone: Annotated[
        str,
        typer.Argument(
            help="The client's number, written in any way; - reads it from standard input, and "
            "without it a terminal asks: so it is in no shell's history."
        ),
    ] = "",
    *,
    output: Annotated[
        str, typer.Option("--output", metavar="FILE", help="Write there. Default: print it.")
    ] = "",
) -> None:
    """Give everything that is held on one client: rows, raw calls, webhooks, and where each is."""
    import sys  # noqa: PLC0415

    from callkeeper_assets.cli.console import print_note  # noqa: PLC0415

    number = read_number(phone)
    check_all_sources()
    if not output:
        sys.stdout.write(_export(number))
        sys.stdout.flush()
        return
    # Made before all is searched: that takes minutes.
    with reserved_private_file(output) as file:
        file.write_text(_export(number), encoding="utf-8")
    print_note(tr("Written to {output}, readable by you alone.", output=output))


def _export(number: str) -> str:
    """Run the job; return what it wrote, which stays nowhere else."""
    from pathlib import Path  # noqa: PLC0415

    from callkeeper_assets.personal_data.requests import name_request  # noqa: PLC0415

    outcome = run_for_client("export", name_request("export"), number)
    file = Path(outcome.document["file"]) if outcome.document else None
    try:
        if file is None or outcome.errors:
            raise typer.Exit(FAILED)
        return file.read_text("utf-8")
    finally:
        if file is not None:
            file.unlink(missing_ok=True)


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
    as_json: AsJson = False,
) -> None:
    """Show who was forgotten when, on whose word, and what was found and left; no number."""
    from callkeeper_assets.cli.console import print_json  # noqa: PLC0415
    from callkeeper_assets.personal_data.erasures import list_erasures  # noqa: PLC0415
    from callkeeper_assets.postgres.url import connect, database_url  # noqa: PLC0415
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
        print_text(tr("No request is recorded."))
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
            _say_moment(one.finished_at) or tr("not yet: run callkeeper forget again"),
            say_number(one.calls),
            _say_found(one.found),
            _say_moment(one.verified_at) or tr("never"),
            _say_left(one.left_over),
        )
    print_table(table)


def _say_moment(moment: Any) -> str:  # noqa: ANN401 -- a moment, or None
    return show_moment(moment) if moment else ""


def _say_found(found: dict[str, Any]) -> str:
    from callkeeper_assets.config.errors import say_count  # noqa: PLC0415

    rows = sum(found.get("rows", {}).values())
    calls, payloads = found.get("raw_calls", 0), found.get("payloads", 0)
    parts = (
        say_count(calls, "raw call") if calls else "",
        say_count(payloads, "payload") if payloads else "",
        say_count(rows, "row") if rows else "",
    )
    return ", ".join(filter(None, parts)) or tr("nothing")


def _say_left(left_over: dict[str, int] | None) -> str:
    if left_over is None:
        return ""
    return ", ".join(f"{place}: {say_number(count)}" for place, count in left_over.items()) or tr(
        "nothing"
    )


def read_number(typed: str) -> str:
    """Return the number that was typed, or comes by standard input, in its one form.

    Raises:
        UsageProblemError: It is no phone number, or there is none.
    """
    from callkeeper_assets.config.errors import ConfigError  # noqa: PLC0415
    from callkeeper_assets.personal_data.requests import check_number  # noqa: PLC0415

    if not typed and sys.stdin.isatty():
        typed = typer.prompt(tr("The client's number"), err=True)
    elif typed == _FROM_INPUT:
        typed = sys.stdin.readline().strip()
    if not typed.strip():
        raise UsageProblemError(
            tr(
                "There is no number. Type it as the command's argument; or, so that it does not "
                "stand in the shell's history, nothing on a terminal, or - and the number on "
                "standard input."
            )
        )
    try:
        return check_number(typed)
    except ConfigError as error:
        raise UsageProblemError(str(error)) from None


def check_all_sources() -> None:
    """See that all sources can be searched: a client is looked for in all, or the answer is wrong.

    Raises:
        UsageProblemError: The configuration of one is refused.
        MissingFolderError: `CALLKEEPER_DEFS` names a folder that does not exist.
    """
    from callkeeper_assets.cli.selection import describe_broken  # noqa: PLC0415
    from callkeeper_assets.config.loading import load_sources  # noqa: PLC0415

    _, broken = load_sources()
    if broken:
        raise UsageProblemError(
            "\n".join(describe_broken(source) for source in broken)
            + tr("\nA client is looked for in all sources: correct this one first.")
        )


def run_for_client(job: str, request_id: str, number: str, *arguments: str) -> "SourceOutcome":
    """Run a client's job in a process of its own, which gets the number by its standard input.

    Raises:
        DatabaseError: The database cannot be reached, or is too old.
        SystemExit: Somebody interrupted the command.
    """
    from callkeeper_assets.cli.loading import run_and_show  # noqa: PLC0415
    from callkeeper_assets.cli.processes import Task  # noqa: PLC0415

    words = ("--client", job, "--request", request_id, *arguments)
    (outcome,) = run_and_show([Task(ALL, words, whisper=number)])
    return outcome


@contextmanager
def reserved_private_file(name: str) -> Iterator[Path]:
    """Make a new file that only its owner may read; it is removed again if an error comes.

    Raises:
        UsageProblemError: It is there already, or cannot be written.
    """
    file = Path(name)
    try:
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        raise UsageProblemError(
            tr("{file} is there already: name another one.", file=file)
        ) from None
    except OSError as error:
        raise UsageProblemError(
            tr("{file} cannot be written: {problem}.", file=file, problem=error.strerror)
        ) from None
    try:
        yield file
    except OSError as error:
        file.unlink(missing_ok=True)
        raise UsageProblemError(
            tr("{file} cannot be written: {problem}.", file=file, problem=error.strerror)
        ) from None
    except BaseException:
        file.unlink(missing_ok=True)
        raise
