"""`callkeeper webhooks`: the webhook receiver alone, until Ctrl-C."""

from typing import Annotated

import typer

from callkeeper_assets.cli.exits import FAILED


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
    from callkeeper_assets.file_locks import find_lock_problem  # noqa: PLC0415
    from callkeeper_assets.home import home  # noqa: PLC0415
    from callkeeper_assets.webhooks.server import run_receiver  # noqa: PLC0415

    sources, refused = choose_sources([])
    for broken in refused:
        print_error(f"{describe_broken(broken)}\nUntil then its webhooks are answered with 404.")
    if not any(source.webhook for source in sources):
        print_error(
            "No source takes webhooks. Add to its defs.yaml, and set the variable that it names:\n"
            "  webhook: {token: {env: MAIN_OFFICE_WEBHOOK_TOKEN}}"
        )
        raise typer.Exit(FAILED)
    problem = find_port_problem(WebAddress(host, port))
    if problem:
        print_error(f"{problem}. Choose another: callkeeper webhooks --port {port + 1}")
        raise typer.Exit(FAILED)
    problem = find_lock_problem(home())
    if problem:
        print_error(f"{problem} Until then no spool keeps webhooks while the database is away.")
    try:
        run_receiver(host, port, sources)
    except KeyboardInterrupt:
        print_note("Stopped.")
