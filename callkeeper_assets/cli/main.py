"""The console script `callkeeper`: registers the commands, and says expected failures plainly.

Exit codes: 0 done, 1 failed, 2 wrong usage; 130 interrupted.
"""

import signal
import sys
from types import FrameType
from typing import Annotated

import typer

from callkeeper_assets.cli.check import check
from callkeeper_assets.cli.console import configure_streams, print_error
from callkeeper_assets.cli.demo import demo
from callkeeper_assets.cli.dev import dev
from callkeeper_assets.cli.environment import prepare_environment, read_version
from callkeeper_assets.cli.erasures import erasures
from callkeeper_assets.cli.exits import FAILED, INTERRUPTED, WRONG_USAGE, UsageProblemError
from callkeeper_assets.cli.export import export
from callkeeper_assets.cli.forget import forget
from callkeeper_assets.cli.history import history
from callkeeper_assets.cli.inbox import inbox
from callkeeper_assets.cli.load import load
from callkeeper_assets.cli.move import move
from callkeeper_assets.cli.protect import protect
from callkeeper_assets.cli.rebuild import rebuild
from callkeeper_assets.cli.reconcile import reconcile
from callkeeper_assets.cli.refresh import refresh
from callkeeper_assets.cli.report import report
from callkeeper_assets.cli.retain import retain
from callkeeper_assets.cli.simulate import simulate
from callkeeper_assets.cli.status import status
from callkeeper_assets.cli.unusable import unusable
from callkeeper_assets.cli.webhooks import webhooks

app = typer.Typer(
    name="callkeeper",
    help="CallKeeper's calls in your own PostgreSQL. Begin with: callkeeper demo",
    no_args_is_help=True,
    add_completion=False,
    # A person gets frames and colours; a pipe, or a log, gets plain lines.
    rich_markup_mode="rich" if sys.stdout.isatty() else None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_COMMANDS = (
    demo,
    dev,
    check,
    load,
    refresh,
    reconcile,
    retain,
    report,
    status,
    history,
    unusable,
    forget,
    erasures,
    export,
    protect,
    rebuild,
    move,
    webhooks,
    inbox,
    simulate,
)
for _command in _COMMANDS:
    app.command()(_command)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"callkeeper {read_version()}")
        raise typer.Exit


@app.callback()
def _prepare(
    *,
    version: Annotated[  # noqa: ARG001 -- its callback does the work
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    prepare_environment()


def _expected_errors() -> tuple[type[Exception], ...]:
    """Return the classes whose text is written for the person who typed the command."""
    from callkeeper_assets.api.errors import CallKeeperError  # noqa: PLC0415 -- only on failure
    from callkeeper_assets.config.errors import ConfigError  # noqa: PLC0415
    from callkeeper_assets.database.errors import DatabaseError  # noqa: PLC0415
    from callkeeper_assets.raw.errors import RawError  # noqa: PLC0415
    from callkeeper_assets.warehouse.errors import WarehouseError  # noqa: PLC0415

    return (CallKeeperError, ConfigError, DatabaseError, RawError, WarehouseError)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Run what was typed, and exit."""
    configure_streams()
    # Ended from outside is like Ctrl-C: children are stopped first. Set anew for the latter too:
    # a shell starts a background command with it ignored.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        app(prog_name="callkeeper")
    except UsageProblemError as problem:
        print_error(str(problem))
        sys.exit(WRONG_USAGE)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except _expected_errors() as error:
        print_error(str(error))
        sys.exit(FAILED)


if __name__ == "__main__":
    main()
