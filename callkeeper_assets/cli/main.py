"""The console script `callkeeper`: registers the commands, and says expected failures plainly.

Exit codes: 0 done, 1 failed, 2 wrong usage; 130 interrupted.
"""

import gc
import os
import signal
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from types import FrameType
from typing import Annotated, cast

import typer
from typer.core import TyperGroup
from typer.main import get_command

from callkeeper_assets.cli.access import grant
from callkeeper_assets.cli.alerts import alert, alerts
from callkeeper_assets.cli.backup import backup, restore, verify_backup
from callkeeper_assets.cli.clients import erasures, export, forget
from callkeeper_assets.cli.console import (
    FAILED,
    INTERRUPTED,
    WRONG_USAGE,
    UsageProblemError,
    configure_streams,
    describe_version,
    prepare_environment,
    print_error,
)
from callkeeper_assets.cli.production import code, daemon, metrics, runs, up, web
from callkeeper_assets.cli.projects import add, init
from callkeeper_assets.cli.query import query
from callkeeper_assets.cli.removal import remove
from callkeeper_assets.cli.runs import load, protect, rebuild, reconcile, refresh, report, retain
from callkeeper_assets.cli.services import demo, dev, move, webhooks, worker
from callkeeper_assets.cli.simulate import simulate
from callkeeper_assets.cli.status import check, history, inbox, status
from callkeeper_assets.cli.unusable import unusable
from callkeeper_assets.cli.upgrade import upgrade
from callkeeper_assets.language import (
    LANGUAGES,
    Language,
    choose_language,
    current_language,
    look_up,
    use_language,
)
from callkeeper_assets.local_time import use_newest_rules

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


# What `--lang` said.
_asked_for: Language | None = None
# Everything else is of a project: `CALLKEEPER_DEFS` may name its sources, too.
_ANYWHERE = {demo, simulate, restore, verify_backup}
_COMMANDS = (
    demo,
    init,
    add,
    remove,
    dev,
    up,
    check,
    load,
    refresh,
    reconcile,
    retain,
    report,
    status,
    history,
    unusable,
    query,
    forget,
    erasures,
    export,
    protect,
    rebuild,
    upgrade,
    move,
    backup,
    restore,
    verify_backup,
    grant,
    code,
    runs,
    web,
    daemon,
    metrics,
    webhooks,
    worker,
    inbox,
    alert,
    alerts,
    simulate,
)


def _in_project(command: Callable[..., None]) -> Callable[..., None]:
    """Have a command begin by setting its environment: not before it is known that it is run."""

    @wraps(command)
    def run(*args: object, **options: object) -> None:
        if command is not init:
            # A dry run of an upgrade makes nothing, and what it does is said before it is done.
            prepare_environment(
                needs_project=command not in _ANYWHERE, writes=command is not upgrade
            )
            _use_configured_language()  # a project's .env may name it
        if options.get("as_json"):
            use_language("en")
            os.environ["CALLKEEPER_LANG"] = "en"  # of its workers, too
        command(*args, **options)

    return run


for _command in _COMMANDS:
    app.command()(_in_project(_command))


def _use_configured_language() -> None:
    """Use the language of the environment, unless the command line has said one."""
    try:
        use_language(_asked_for or choose_language(os.environ))
    except ValueError as error:
        raise UsageProblemError(str(error)) from None


def _translate_help(command: TyperGroup) -> None:
    """Have a group and its commands explain themselves in the language in force."""
    for one in (command, *command.commands.values()):
        one.help = look_up(one.help or "")
        for parameter in one.params:
            text = getattr(parameter, "help", None)
            if text:
                parameter.help = look_up(text)  # type: ignore[attr-defined]


def _use_asked_language(context: typer.Context, value: str | None) -> None:
    global _asked_for  # noqa: PLW0603 -- of this process: what was typed
    if value is None:
        return
    if value not in LANGUAGES:
        raise typer.BadParameter("en, ru")
    _asked_for = cast("Language", value)
    use_language(_asked_for)
    # Children of this command say it in the same language.
    os.environ["CALLKEEPER_LANG"] = value
    _translate_help(cast("TyperGroup", context.command))


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"callkeeper {describe_version()}")
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
    lang: Annotated[  # noqa: ARG001 -- its callback does the work
        str | None,
        typer.Option(
            help="The language of what is said: en or ru. Default: CALLKEEPER_LANG, or the "
            "system's.",
            callback=_use_asked_language,
            is_eager=True,
        ),
    ] = None,
    project: Annotated[
        Path | None,
        typer.Option(
            help="The project's folder. Default: the working folder, or the nearest above it that "
            "is a project."
        ),
    ] = None,
) -> None:
    if project:
        os.environ["CALLKEEPER_PROJECT"] = str(project.expanduser().absolute())


def _expected_errors() -> tuple[type[Exception], ...]:
    """Return the classes whose text is written for the person who typed the command."""
    from callkeeper_assets.analysis.columns import ReadingError  # noqa: PLC0415 -- only on failure
    from callkeeper_assets.backup.place import BackupError  # noqa: PLC0415
    from callkeeper_assets.callkeeper.records import CallKeeperError  # noqa: PLC0415
    from callkeeper_assets.config.errors import ConfigError  # noqa: PLC0415
    from callkeeper_assets.home import UnreadableSecretError  # noqa: PLC0415
    from callkeeper_assets.postgres.errors import DatabaseError  # noqa: PLC0415
    from callkeeper_assets.raw.place import RawError  # noqa: PLC0415
    from callkeeper_assets.warehouse.records import WarehouseError  # noqa: PLC0415

    return (
        BackupError,
        CallKeeperError,
        ConfigError,
        DatabaseError,
        RawError,
        ReadingError,
        UnreadableSecretError,
        WarehouseError,
    )


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Run what was typed, and exit."""
    # What is imported stays, and a command is short: a tenth of it went into looking for garbage.
    gc.set_threshold(50_000, 20, 100)
    configure_streams()
    use_newest_rules()
    # Ended from outside is like Ctrl-C: children are stopped first. Set anew for the latter too:
    # a shell starts a background command with it ignored.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    command = cast("TyperGroup", get_command(app))
    try:
        _use_configured_language()
        if current_language() != "en":
            _translate_help(command)
        command(prog_name="callkeeper")
    except UsageProblemError as problem:
        print_error(str(problem))
        sys.exit(WRONG_USAGE)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception as error:
        # Not as an except clause: of every command's SystemExit it would be asked as well.
        if not isinstance(error, _expected_errors()):
            raise
        print_error(str(error))
        sys.exit(FAILED)


if __name__ == "__main__":
    main()
