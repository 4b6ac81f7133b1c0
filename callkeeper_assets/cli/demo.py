"""`callkeeper demo`: a month of calls of two simulated accounts, from the API to a BI query."""

from typing import TYPE_CHECKING, Annotated, Final

import typer

from callkeeper_assets.cli.exits import FAILED

if TYPE_CHECKING:
    from callkeeper_assets.cli.serving import WebAddress

_DEFAULT_PORT: Final = 3000
_DEFAULT_WEBHOOK_PORT: Final = 8080


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
    from callkeeper_assets.cli.demo_story import DemoWishes, tell_demo  # noqa: PLC0415

    address = receiver = None
    if serve:
        address = _choose_address(port, _DEFAULT_PORT, "--port")
        receiver = _choose_address(webhook_port, _DEFAULT_WEBHOOK_PORT, "--webhook-port")
    try:
        tell_demo(DemoWishes(days, calls_per_day, address, receiver))
    except KeyboardInterrupt:
        if address is None:
            raise
        print_note("Stopped.")


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
        print_error(f"{problem}. Choose another, or leave {option} out for a free one.")
        raise typer.Exit(FAILED)
    return WebAddress("127.0.0.1", find_free_port()) if problem else address
