"""`callkeeper dev`: everything on this machine, until Ctrl-C."""

from typing import Annotated

import typer

from callkeeper_assets.cli.exits import FAILED


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
    from callkeeper_assets.cli.console import (  # noqa: PLC0415
        print_error,
        print_note,
    )
    from callkeeper_assets.cli.greeting import (  # noqa: PLC0415
        has_webhooks,
        list_source_lines,
        print_greeting,
    )
    from callkeeper_assets.cli.serving import (  # noqa: PLC0415
        WebAddress,
        find_port_problem,
        held_alone,
        serve,
    )
    from callkeeper_assets.database.url import connect, database_url  # noqa: PLC0415
    from callkeeper_assets.home import home  # noqa: PLC0415

    address = WebAddress(host, port)
    with held_alone(home() / "dev.lock", "callkeeper dev"):
        problem = find_port_problem(address)
        if problem:
            print_error(f"{problem}. Choose another: callkeeper dev --port {port + 1}")
            raise typer.Exit(FAILED)
        receiver = WebAddress(webhook_host, webhook_port) if has_webhooks() else None
        problem = find_port_problem(receiver) if receiver else None
        if problem:
            print_error(
                f"{problem}. Choose another: callkeeper dev --webhook-port {webhook_port + 1}"
            )
            raise typer.Exit(FAILED)
        sources = list_source_lines()
        print_note("Starting the database and Dagster; this takes some seconds.")
        url = database_url()
        connect(url).close()
        try:
            serve(address, receiver, lambda: print_greeting(address, receiver, url, sources))
        except KeyboardInterrupt:
            print_note("Stopped.")
