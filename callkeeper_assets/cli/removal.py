"""`callkeeper remove`: a source is no longer loaded and, if that is said, its calls are deleted.

Its folder is moved into the home, from where it can be put back. Loaded calls stay unless they are
to go, too; the logs of what was loaded and deleted stay in any case, and who was forgotten.
"""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final
from zoneinfo import ZoneInfo

import typer

from callkeeper_assets.cli.console import AsJson, UsageProblemError
from callkeeper_assets.home import home, make_folder
from callkeeper_assets.language import look_up, say_number, tr

if TYPE_CHECKING:
    from callkeeper_assets.config.loading import BrokenSource
    from callkeeper_assets.config.source import Source
    from callkeeper_assets.warehouse.records import RetentionResult

# What the load log has in place of a run.
_RUN: Final = "callkeeper remove"
_STOP: Final = "UPDATE general_accounts SET enabled = false WHERE name = %(name)s AND enabled"


@dataclass(frozen=True)
class Removed:
    """What is removed, or would be.

    Attributes:
        file: Its `defs.yaml`; None if it is configured no more.
        kept_in: Where its folder is moved; None as above.
        calls: What it has, by place: of the tables, raw calls, spool, and Dagster's event log.
    """

    name: str
    file: Path | None
    kept_in: Path | None
    variables: tuple[str, ...]
    calls: "RetentionResult | None"


def _find(name: str) -> "tuple[Source | None, BrokenSource | None]":
    from callkeeper_assets.config.loading import load_sources  # noqa: PLC0415

    sources, broken = load_sources()
    return (
        next((one for one in sources if one.name == name), None),
        next((one for one in broken if one.name == name), None),
    )


def _list_variables(source: "Source | None") -> Iterator[str]:
    """Yield the variables of its secrets that are set, and are no other source's."""
    from callkeeper_assets.config.loading import load_sources  # noqa: PLC0415

    def name_all(one: "Source") -> tuple[str, ...]:
        webhook = one.webhook.token_env if one.webhook else ""
        return (one.api_key_env, webhook, one.privacy.key_env)

    if source is None:
        return
    others = {v for one in load_sources()[0] if one.name != source.name for v in name_all(one)}
    yield from (v for v in name_all(source) if v and v not in others and os.environ.get(v))


def _open_database() -> str | None:
    """Return the database's URL if it has our tables; None if there is none yet."""
    from callkeeper_assets.postgres.url import connect, database_url, is_embedded  # noqa: PLC0415
    from callkeeper_assets.warehouse.migrate import VERSION_TABLE, ensure_schema  # noqa: PLC0415

    if is_embedded() and not (home() / "postgres").exists():
        return None
    url = database_url()
    with connect(url, autocommit=True) as connection:
        row = connection.execute("SELECT to_regclass(%s)", (VERSION_TABLE,)).fetchone()
    if not row or row[0] is None:
        return None
    ensure_schema(url)
    return url


def _clear(
    url: str, name: str, source: "Source | None", *, dry_run: bool
) -> "RetentionResult | None":
    """Delete, or count, what a source has; None if the tables do not know it."""
    import dagster as dg  # noqa: PLC0415

    from callkeeper_assets.assets.resources import open_store  # noqa: PLC0415
    from callkeeper_assets.assets.retention import clear_event_log  # noqa: PLC0415
    from callkeeper_assets.dagster_ext.removed import drop_assets  # noqa: PLC0415
    from callkeeper_assets.postgres.url import connect  # noqa: PLC0415
    from callkeeper_assets.retention.old_calls import AFTER_ALL, delete_calls  # noqa: PLC0415
    from callkeeper_assets.warehouse.accounts import find_account_by_name  # noqa: PLC0415
    from callkeeper_assets.warehouse.records import Account  # noqa: PLC0415

    with connect(url, autocommit=True) as connection:
        if find_account_by_name(connection, name) is None:
            return None
    # The days are those of the load log alone, where the source is configured no more.
    account = source.account if source else Account(name, name, ZoneInfo("UTC"), None)
    removed = delete_calls(
        url,
        account,
        AFTER_ALL,
        open_store(),
        home() / "spool",
        run_id=_RUN,
        dry_run=dry_run,
        report=lambda *_: None,
    )
    folder = source.folder if source else (name,)
    others = source.keys.values() if source else ()
    with dg.DagsterInstance.get() as instance:
        clear_event_log(instance, folder, removed, others=others, dry_run=dry_run)
        if not dry_run:
            drop_assets(instance, folder, others)
    return removed


def _stop(url: str, name: str, source: "Source | None") -> None:
    """Have tables and Dagster take a source for one that is loaded no more."""
    import dagster as dg  # noqa: PLC0415

    from callkeeper_assets.assets.build import name_schedules  # noqa: PLC0415
    from callkeeper_assets.dagster_ext.removed import drop_states  # noqa: PLC0415
    from callkeeper_assets.postgres.url import connect  # noqa: PLC0415

    with connect(url, autocommit=True) as connection:
        connection.execute(_STOP, {"name": name})
    reports = [report.name for report in source.reports] if source else []
    with dg.DagsterInstance.get() as instance:
        drop_states(instance, name_schedules(source.stem if source else name, reports))


def _confirm(removed: Removed, *, with_calls: bool, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageProblemError(tr("Say --yes, as there is no terminal to ask. First: --dry-run."))
    what = (
        tr("'{removed}' with all its calls", removed=removed.name)
        if with_calls
        else f"'{removed.name}'"
    )
    if not typer.confirm(tr("Remove {what}?", what=what)):
        raise typer.Abort


def _put_aside(removed: Removed) -> None:
    import shutil  # noqa: PLC0415

    if removed.file and removed.kept_in:
        make_folder(removed.kept_in.parent)
        shutil.move(removed.file.parent, removed.kept_in)


def _print(removed: Removed, *, with_calls: bool, dry_run: bool) -> None:
    from callkeeper_assets.cli.console import (  # noqa: PLC0415
        build_table,
        print_table,
        print_text,
        say_size,
    )

    if removed.file:
        verb = tr("Would be moved") if dry_run else tr("Moved")
        print_text(
            tr(
                "{verb}: {folder}\n  to {kept_in}",
                verb=verb,
                folder=removed.file.parent,
                kept_in=removed.kept_in,
            )
        )
    places = removed.calls.places if removed.calls else {}
    if places:
        verb = (tr("Would be deleted") if dry_run else tr("Deleted")) if with_calls else tr("Stays")
        table = build_table("Where", verb, "Size", numeric=(verb, "Size"))
        for place, one in places.items():
            table.add_row(look_up(place), say_number(one.rows), say_size(one.bytes))
        print_table(table)
    stays = tr("the log of loads, general_accounts' row, who was forgotten")
    if removed.variables:
        stays += tr(", {names} in the environment or in .env", names=", ".join(removed.variables))
    print_text(tr("Stays in any case: {stays}.", stays=stays))
    if places and not with_calls:
        print_text(
            tr(
                "To delete the calls, too: callkeeper remove {source} --with-calls",
                source=removed.name,
            )
        )
    if dry_run:
        print_text(tr("Dry run: nothing was changed."))


def _build_document(removed: Removed, *, with_calls: bool, dry_run: bool) -> dict[str, Any]:
    places = removed.calls.places if removed.calls else {}
    return {
        "ok": True,
        "source": removed.name,
        "dry_run": dry_run,
        "with_calls": with_calls,
        "folder": removed.file.parent if removed.file else None,
        "kept_in": removed.kept_in,
        "variables": removed.variables,
        "places": {place: {"rows": one.rows, "bytes": one.bytes} for place, one in places.items()},
    }


def remove(
    source: Annotated[str, typer.Argument(help="The source's name: its folder's name.")],
    *,
    with_calls: Annotated[
        bool,
        typer.Option(
            "--with-calls",
            help="Delete its calls, too: tables, reports, webhooks, raw calls, Dagster's log.",
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would go and what stays; change nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove a source: it is loaded no more. Its calls stay, unless --with-calls is said.

    Its folder is moved into the home: put it back, and the source goes on where it was.
    """
    from callkeeper_assets.cli.console import print_json, print_note  # noqa: PLC0415
    from callkeeper_assets.cli.selection import choose_sources, describe_broken  # noqa: PLC0415
    from callkeeper_assets.postgres.locks import held_source_lock_alone  # noqa: PLC0415

    good, broken = _find(source)
    url = _open_database()
    known = _clear(url, source, good, dry_run=True) if url else None
    if not (good or broken or known):
        choose_sources([source])
    if broken and with_calls:
        raise UsageProblemError(
            tr(
                "{problem}\nMend it, or remove it without its calls first.",
                problem=describe_broken(broken),
            )
        )
    file = good.file if good else broken.file if broken else None
    moment = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    kept_in = home() / "removed" / f"{source}-{moment}" if file else None
    removed = Removed(source, file, kept_in, tuple(_list_variables(good)), known)
    if not dry_run:
        _confirm(removed, with_calls=with_calls, yes=yes)
        _put_aside(removed)
    if url and not dry_run:
        _stop(url, source, good)
    if url and with_calls and not dry_run:
        waiting = tr("{source}: waits for runs of the source that are under way", source=source)
        with held_source_lock_alone(url, source, lambda: print_note(waiting)):
            done = _clear(url, source, good, dry_run=False)
        removed = Removed(source, file, kept_in, removed.variables, done)
    if as_json:
        print_json(_build_document(removed, with_calls=with_calls, dry_run=dry_run))
    else:
        _print(removed, with_calls=with_calls, dry_run=dry_run)
