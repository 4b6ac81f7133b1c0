"""`callkeeper demo`: a month of calls of two simulated accounts, from the API to a BI query."""

from typing import Annotated

import typer

from callkeeper_assets.cli.exits import FAILED

_DEFAULT_PORT = 3000


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
) -> None:
    """Show everything on simulated data: needs no account, touches no data of yours."""
    from callkeeper_assets.cli.console import print_error, print_note  # noqa: PLC0415
    from callkeeper_assets.cli.demo_story import DemoWishes, tell_demo  # noqa: PLC0415
    from callkeeper_assets.cli.serving import (  # noqa: PLC0415
        WebAddress,
        find_free_port,
        find_port_problem,
    )

    address = None
    if serve:
        address = WebAddress("127.0.0.1", port or _DEFAULT_PORT)
        problem = find_port_problem(address)
        if problem and port:
            print_error(f"{problem}. Choose another, or leave --port out for a free one.")
            raise typer.Exit(FAILED)
        if problem:
            address = WebAddress("127.0.0.1", find_free_port())
    try:
        tell_demo(DemoWishes(days, calls_per_day, address))
    except KeyboardInterrupt:
        if address is None:
            raise
        print_note("Stopped.")
