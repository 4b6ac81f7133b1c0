"""The commands that run until Ctrl-C, and around them: dev, webhooks, demo, move."""

from functools import partial
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer

from callkeeper_assets.cli.console import FAILED, UsageProblemError
from callkeeper_assets.language import tr

_DEFAULT_PORT: Final = 3000
_DEFAULT_WEBHOOK_PORT: Final = 8080


def _refuse_port(problem: str, typed: str, port: int) -> NoReturn:
    """End a command that cannot listen at a port; `typed` is the command with the port's option."""
    from callkeeper_assets.cli.console import print_error  # noqa: PLC0415

    print_error(
        tr(
            "{problem}. Choose another: callkeeper {typed} {port}",
            problem=problem,
            typed=typed,
            port=port + 1,
        )
    )
    raise typer.Exit(FAILED)


def dev(
    *,
    port: Annotated[int, typer.Option("--port", "-p", help="Port of Dagster's UI.")] = 3000,
    host: Annotated[
        str,
        typer.Option(help="Address of Dagster's UI. It asks nobody for a password: keep it local."),
    ] = "127.0.0.1",
    webhook_port: Annotated[int, typer.Option(help="Port of the webhook receiver.")] = 8080,
    webhook_host: Annotated[
        str, typer.Option(help="Address of the webhook receiver, which speaks plain HTTP.")
    ] = "127.0.0.1",
) -> None:
    """Run database, Dagster's UI, its daemon and the webhook receiver, until Ctrl-C."""
    from callkeeper_assets.cli.console import print_note  # noqa: PLC0415
    from callkeeper_assets.cli.serving import (  # noqa: PLC0415
        WebAddress,
        find_port_problem,
        has_webhooks,
        held_alone,
        list_alert_lines,
        list_source_lines,
        print_greeting,
        refuse_second_daemon,
        serve,
    )
    from callkeeper_assets.home import home  # noqa: PLC0415
    from callkeeper_assets.postgres.url import connect, database_url  # noqa: PLC0415
    from callkeeper_assets.warehouse.migrate import find_pending  # noqa: PLC0415

    address = WebAddress(host, port)
    with held_alone(home() / "dev.lock", "callkeeper dev"):
        problem = find_port_problem(address)
        if problem:
            _refuse_port(problem, "dev --port", port)
        receiver = WebAddress(webhook_host, webhook_port) if has_webhooks() else None
        problem = find_port_problem(receiver) if receiver else None
        if problem:
            _refuse_port(problem, "dev --webhook-port", webhook_port)
        alerts = list_alert_lines()
        lines = [*list_source_lines(), *alerts]
        print_note(tr("Starting the database and Dagster; this takes some seconds."))
        url = database_url()
        with connect(url, autocommit=True) as connection:
            find_pending(connection, url)  # raises, if a newer version has been here
        refuse_second_daemon(url)
        try:
            greet = partial(print_greeting, address, receiver, url, lines)
            serve(address, receiver, greet, has_alerts=bool(alerts))
        except KeyboardInterrupt:
            print_note(tr("Stopped."))


def webhooks(
    *,
    port: Annotated[int, typer.Option("--port", "-p", help="Port to listen at.")] = 8080,
    host: Annotated[
        str,
        typer.Option(
            help="Address to listen at. It speaks plain HTTP: put a proxy with TLS before it."
        ),
    ] = "127.0.0.1",
) -> None:
    """Receive webhooks into the inbox, and into a spool on disk while the database is away."""
    from callkeeper_assets.cli.console import print_error, print_note  # noqa: PLC0415
    from callkeeper_assets.cli.selection import (  # noqa: PLC0415
        choose_sources,
        describe_broken,
    )
    from callkeeper_assets.cli.serving import WebAddress, find_port_problem  # noqa: PLC0415
    from callkeeper_assets.home import (  # noqa: PLC0415
        find_lock_problem,
        home,
    )
    from callkeeper_assets.webhooks.server import run_receiver  # noqa: PLC0415

    sources, refused = choose_sources([])
    for broken in refused:
        print_error(
            tr(
                "{broken}\nUntil then its webhooks are answered with 404.",
                broken=describe_broken(broken),
            )
        )
    if not any(source.webhook for source in sources):
        print_error(
            tr(
                "No source takes webhooks. Add to its defs.yaml, and set the variable that it "
                "names:\n  webhook: {token: {env: MAIN_OFFICE_WEBHOOK_TOKEN}}"
            )
        )
        raise typer.Exit(FAILED)
    problem = find_port_problem(WebAddress(host, port))
    if problem:
        _refuse_port(problem, "webhooks --port", port)
    problem = find_lock_problem(home())
    if problem:
        print_error(
            tr(
                "{problem} Until then no spool keeps webhooks while the database is away.",
                problem=problem,
            )
        )
    try:
        run_receiver(host, port, sources)
    except KeyboardInterrupt:
        print_note(tr("Stopped."))


def worker(
    *,
    runs: Annotated[
        int | None,
        typer.Option(min=1, help="Runs at once. Default: two for each processor."),
    ] = None,
    grace: Annotated[
        float,
        typer.Option(
            min=0,
            help="Seconds that runs have to their end when it is told to stop; then they "
            "are killed, and done again by another worker.",
        ),
    ] = 60.0,
) -> None:
    """Do runs on this machine that another one's daemon sends over a broker, until Ctrl-C."""
    from callkeeper_assets.cli.console import print_note  # noqa: PLC0415
    from callkeeper_assets.cli.working import work  # noqa: PLC0415

    work(runs, grace)
    print_note(tr("Stopped."))


if TYPE_CHECKING:
    from callkeeper_assets.cli.serving import WebAddress


def demo(
    *,
    serve: Annotated[
        bool, typer.Option("--serve", help="Then leave everything running, with Dagster's UI.")
    ] = False,
    days: Annotated[int, typer.Option(min=1, max=366, help="Days to load, up to today.")] = 30,
    calls_per_day: Annotated[
        int, typer.Option(min=1, max=10_000, help="Mean number of calls a day and account.")
    ] = 60,
    port: Annotated[
        int | None,
        typer.Option("--port", "-p", help="Port of Dagster's UI. Default: 3000, or a free one."),
    ] = None,
    webhook_port: Annotated[
        int | None,
        typer.Option(help="Port of the webhook receiver. Default: 8080, or a free one."),
    ] = None,
) -> None:
    """Show everything on simulated data: needs no account, touches no data of yours."""
    from callkeeper_assets.cli.console import print_note  # noqa: PLC0415
    from callkeeper_assets.cli.demo_story import DemoOptions, run_demo  # noqa: PLC0415

    address = receiver = None
    if serve:
        address = _choose_address(port, _DEFAULT_PORT, "--port")
        receiver = _choose_address(webhook_port, _DEFAULT_WEBHOOK_PORT, "--webhook-port")
    try:
        run_demo(DemoOptions(days, calls_per_day, address, receiver))
    except KeyboardInterrupt:
        if address is None:
            raise
        print_note(tr("Stopped."))


def _choose_address(port: int | None, default: int, option: str) -> "WebAddress":
    """Return where to listen: at the port asked for, else at the default one or a free one."""
    from callkeeper_assets.cli.console import print_error  # noqa: PLC0415
    from callkeeper_assets.cli.serving import (  # noqa: PLC0415
        WebAddress,
        find_free_port,
        find_port_problem,
    )

    address = WebAddress("127.0.0.1", port or default)
    problem = find_port_problem(address)
    if problem and port:
        print_error(
            tr(
                "{problem}. Choose another, or leave {option} out for a free one.",
                problem=problem,
                option=option,
            )
        )
        raise typer.Exit(FAILED)
    return WebAddress("127.0.0.1", find_free_port()) if problem else address


def move(
    url: Annotated[
        str | None,
        typer.Argument(
            help="The empty database: postgresql://user:password@host:5432/database. "
            "Default: CALLKEEPER_DATABASE_URL, which no other user of the machine sees."
        ),
    ] = None,
    *,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document in place of the text.")
    ] = False,
) -> None:
    """Move the embedded database into a PostgreSQL of your own, 15 or newer.

    All of it or nothing: tables, those of reports, Dagster's history. The embedded one stays.
    """
    from callkeeper_assets.cli.console import print_json, print_text  # noqa: PLC0415
    from callkeeper_assets.config.errors import say_count  # noqa: PLC0415
    from callkeeper_assets.home import configured_database_url, home  # noqa: PLC0415
    from callkeeper_assets.postgres.moving import move_embedded  # noqa: PLC0415
    from callkeeper_assets.postgres.url import describe, normalise_url  # noqa: PLC0415

    given = url or configured_database_url()
    if given is None:
        raise UsageProblemError(
            tr(
                "Say where to: callkeeper move postgresql://user:password@host:5432/database, or "
                "set CALLKEEPER_DATABASE_URL."
            )
        )
    target = normalise_url(given)
    moved = move_embedded(home(), target)
    if as_json:
        print_json({"database": describe(target), "tables": moved.tables, "rows": moved.rows})
        return
    print_text(
        tr(
            "Moved to {database}: {tables}, {rows}.",
            database=describe(target),
            tables=say_count(moved.tables, "table"),
            rows=say_count(moved.rows, "row"),
        )
    )
    print_text(
        tr(
            "Set CALLKEEPER_DATABASE_URL to it wherever commands run, then `callkeeper check`. "
            "The embedded database in {home} is as it was; delete it when all is well.",
            home=home() / "postgres",
        )
    )
