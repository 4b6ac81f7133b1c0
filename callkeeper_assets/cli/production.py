"""The commands of an installation that stays up: `up`, and each of its processes by itself.

Unlike `dev`, for a supervisor such as systemd or a container's: nothing reloads code while it runs,
what is said goes to standard error, the supervisor is told of readiness and of life, and a stop
gives runs under way their time. Their processes are the program's own or Dagster's, unchanged.
"""

import math
import os
import runpy
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer

from callkeeper_assets.cli.console import FAILED, UsageProblemError
from callkeeper_assets.language import mark, tr

if TYPE_CHECKING:
    from callkeeper_assets.cli.processes import Supervisor
    from callkeeper_assets.cli.serving import WebAddress

_CODE_PORT: Final = 4000
_METRICS_PORT: Final = 9464
_GRACE_SEC: Final = 60
# For what runs need to stop, and the other processes to theirs.
_BEYOND_GRACE_SEC: Final = 20.0
_DAEMON: Final = mark("The daemon")
_ALONE: Final = "callkeeper dev, up or daemon"

_Host = Annotated[str, typer.Option(help="Address to listen at.")]
_Code = Annotated[
    str, typer.Option("--code", metavar="HOST:PORT", help="Where `callkeeper code` listens.")
]
_Grace = Annotated[
    int,
    typer.Option(
        min=0,
        help="Seconds that runs under way have to their end when this is stopped; then they are "
        "interrupted, and run again after the next start.",
    ),
]


def _refuse_if_taken(address: "WebAddress", option: str) -> None:
    from callkeeper_assets.cli.console import print_error  # noqa: PLC0415
    from callkeeper_assets.cli.serving import find_port_problem  # noqa: PLC0415

    problem = find_port_problem(address)
    if problem:
        print_error(
            tr(
                "{problem}. Choose another: {option} {port}",
                problem=problem,
                option=option,
                port=address.port + 1,
            )
        )
        raise typer.Exit(FAILED)


def _be(module: str, *arguments: str) -> None:
    """Run a module of Dagster's as this process; being told to end is no failure."""
    from callkeeper_assets.cli.console import print_note  # noqa: PLC0415

    is_told = False

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal is_told
        is_told = True
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except KeyboardInterrupt:
        pass
    except SystemExit:
        if not is_told:
            raise
    print_note(tr("Stopped."))


def _write_workspace(name: str, code: str) -> Path:
    """Write the file by which Dagster's processes find the code server."""
    from callkeeper_assets.cli.serving import write_workspace  # noqa: PLC0415

    host, separator, port = code.rpartition(":")
    if not separator or not port.isdecimal():
        raise UsageProblemError(
            tr(
                "--code is HOST:PORT, as 127.0.0.1:{port}; not {code!r}.",
                port=_CODE_PORT,
                code=code,
            )
        )
    return write_workspace(name, host.strip("[]"), int(port))


def code(
    *,
    port: Annotated[int, typer.Option("--port", "-p", help="Port to listen at.")] = _CODE_PORT,
    host: _Host = "127.0.0.1",
) -> None:
    """Serve the sources' definitions to `web` and `daemon`, as they are when it starts."""
    from callkeeper_assets.cli.serving import (  # noqa: PLC0415
        WebAddress,
        find_code,
        held_alone,
        is_listening,
    )
    from callkeeper_assets.dagster_ext import LOCATION  # noqa: PLC0415
    from callkeeper_assets.home import home  # noqa: PLC0415
    from callkeeper_assets.supervision import report_from_thread  # noqa: PLC0415

    # gRPC shares its port with whoever asks: two servers would answer by turns, the one of before
    # with the definitions of before. The lock is the process's own until it is gone.
    with held_alone(home() / f"code-{port}.lock", f"callkeeper code at port {port}"):
        _refuse_if_taken(WebAddress(host, port), "callkeeper code --port")
        module, folder = find_code()
        report_from_thread(lambda: is_listening(port), lambda: is_listening(port))
        _be(
            "dagster",
            *("api", "grpc", "--host", host, "--port", str(port), "--location-name", LOCATION),
            *("--module-name", module, *(("--working-directory", str(folder)) if folder else ())),
            *("--use-python-environment-entry-point", "--log-level", "warning"),
        )


def runs(*, grace: _Grace = _GRACE_SEC) -> None:
    """Start the runs that the daemon and the UI ask for: forks of a process that has all loaded."""
    from callkeeper_assets.cli.serving import find_code  # noqa: PLC0415

    module, folder = find_code()
    arguments = ["-m", "callkeeper_assets.worker.run_server", module, "--grace", str(grace)]
    if folder:
        arguments += ["--folder", str(folder)]
    # It has settings that come before all imports.
    os.execv(sys.executable, [sys.executable, *arguments])  # noqa: S606


def web(
    *,
    port: Annotated[int, typer.Option("--port", "-p", help="Port of Dagster's UI.")] = 3000,
    host: Annotated[
        str, typer.Option(help="Its address. It asks nobody for a password: put a proxy before it.")
    ] = "127.0.0.1",
    code: _Code = f"127.0.0.1:{_CODE_PORT}",
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Show everything, change and start nothing.")
    ] = False,
) -> None:
    """Serve Dagster's UI."""
    from callkeeper_assets.cli.serving import WebAddress, answers  # noqa: PLC0415
    from callkeeper_assets.supervision import report_from_thread  # noqa: PLC0415

    address = WebAddress(host, port)
    _refuse_if_taken(address, "callkeeper web --port")
    workspace = _write_workspace(f"web_{port}", code)
    report_from_thread(lambda: answers(address), lambda: answers(address))
    options = ("--read-only",) if read_only else ()
    _be(
        "dagster_webserver",
        *("--host", host, "--port", str(port), "--workspace", str(workspace), *options),
    )


def daemon(*, code: _Code = f"127.0.0.1:{_CODE_PORT}") -> None:
    """Run Dagster's daemon: schedules, sensors, the queue of runs. One for an installation."""
    from callkeeper_assets.cli.serving import held_alone  # noqa: PLC0415
    from callkeeper_assets.dagster_ext import DAEMON_MODULE, dead_runs  # noqa: PLC0415
    from callkeeper_assets.home import home  # noqa: PLC0415
    from callkeeper_assets.supervision import report_from_thread  # noqa: PLC0415

    with held_alone(home() / "dev.lock", _ALONE):
        workspace = _write_workspace("daemon", code)
        dead_runs.main()
        report_from_thread(_build_look_for_heartbeat(), lambda: True)
        _be(DAEMON_MODULE, "run", "--workspace", str(workspace))


def _build_look_for_heartbeat() -> Callable[[], bool]:
    """Return what finds out whether a daemon has begun since now."""
    from datetime import UTC, datetime  # noqa: PLC0415

    from callkeeper_assets.dagster_ext.observed import read_heartbeats  # noqa: PLC0415
    from callkeeper_assets.postgres.errors import DatabaseError  # noqa: PLC0415
    from callkeeper_assets.postgres.url import connect  # noqa: PLC0415

    begun = datetime.now(UTC)

    def look() -> bool:
        try:
            with connect(autocommit=True) as connection:
                heartbeats = read_heartbeats(connection)
        except DatabaseError:
            return False
        return any(at >= begun for at in heartbeats.values())

    return look


def metrics(
    *,
    port: Annotated[int, typer.Option("--port", "-p", help="Port to listen at.")] = _METRICS_PORT,
    host: _Host = "127.0.0.1",
) -> None:
    """Serve /metrics for Prometheus, and /health: runs, days behind, daemon, database, disk."""
    from callkeeper_assets.cli.console import print_note  # noqa: PLC0415
    from callkeeper_assets.cli.serving import WebAddress  # noqa: PLC0415
    from callkeeper_assets.monitoring.server import MonitoringServer  # noqa: PLC0415
    from callkeeper_assets.supervision import report_from_thread  # noqa: PLC0415

    _refuse_if_taken(WebAddress(host, port), "callkeeper metrics --port")
    with MonitoringServer(host, port) as server:
        report_from_thread(lambda: True, lambda: True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print_note(tr("Stopped."))


def up(
    *,
    port: Annotated[int, typer.Option("--port", "-p", help="Port of Dagster's UI.")] = 3000,
    host: Annotated[
        str, typer.Option(help="Its address. It asks nobody for a password: put a proxy before it.")
    ] = "127.0.0.1",
    webhook_port: Annotated[int, typer.Option(help="Port of the webhook receiver.")] = 8080,
    webhook_host: Annotated[
        str, typer.Option(help="Its address. It speaks plain HTTP: put a proxy with TLS before it.")
    ] = "127.0.0.1",
    metrics_port: Annotated[
        int, typer.Option(help="Port of /metrics and /health; 0 is none.")
    ] = _METRICS_PORT,
    metrics_host: Annotated[str, typer.Option(help="Their address.")] = "127.0.0.1",
    grace: _Grace = _GRACE_SEC,
) -> None:
    """Run everything, as a service: for systemd or another supervisor, which starts it again."""
    from callkeeper_assets.cli.console import print_note  # noqa: PLC0415
    from callkeeper_assets.cli.serving import (  # noqa: PLC0415
        WebAddress,
        has_webhooks,
        held_alone,
        list_source_lines,
        refuse_second_daemon,
    )
    from callkeeper_assets.home import home  # noqa: PLC0415
    from callkeeper_assets.postgres.url import connect, database_url, describe  # noqa: PLC0415
    from callkeeper_assets.warehouse.migrate import find_pending  # noqa: PLC0415

    address = WebAddress(host, port)
    with held_alone(home() / "dev.lock", _ALONE):
        _refuse_if_taken(address, "callkeeper up --port")
        receiver = WebAddress(webhook_host, webhook_port) if has_webhooks() else None
        if receiver:
            _refuse_if_taken(receiver, "callkeeper up --webhook-port")
        monitoring = WebAddress(metrics_host, metrics_port) if metrics_port else None
        if monitoring:
            _refuse_if_taken(monitoring, "callkeeper up --metrics-port")
        for line in list_source_lines():
            print_note(line)
        url = database_url()
        with connect(url, autocommit=True) as connection:
            find_pending(connection, url)  # raises, if a newer version has been here
        refuse_second_daemon(url)
        try:
            with _monitored(monitoring):
                _keep_up(address, receiver, grace, describe(url))
        except KeyboardInterrupt:
            print_note(tr("Stopped."))


@contextmanager
def _monitored(address: "WebAddress | None") -> Iterator[None]:
    """Serve metrics from a thread meanwhile."""
    import threading  # noqa: PLC0415

    from callkeeper_assets.monitoring.server import MonitoringServer  # noqa: PLC0415

    if address is None:
        yield
        return
    with MonitoringServer(address.host, address.port) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()


def _place(address: "WebAddress") -> tuple[str, ...]:
    return "--host", address.host, "--port", str(address.port)


def _keep_up(
    address: "WebAddress", receiver: "WebAddress | None", grace: int, database: str
) -> None:
    """Run everything until a signal comes; then the daemon ends first, so that no run begins.

    Raises:
        KeyboardInterrupt: Somebody stopped it; everything has ended by then.
        SystemExit: It does not start; why is said.
    """
    from callkeeper_assets.cli.console import print_note  # noqa: PLC0415
    from callkeeper_assets.cli.processes import Service, Supervisor  # noqa: PLC0415
    from callkeeper_assets.cli.serving import (  # noqa: PLC0415
        CODE_SERVER,
        RUN_SERVER,
        WEB_SERVER,
        answers,
        find_free_port,
        is_listening,
        list_alert_lines,
        prepare,
        wait_for,
    )
    from callkeeper_assets.dagster_ext import DAEMON_MODULE  # noqa: PLC0415
    from callkeeper_assets.dagster_ext.run_socket import is_run_server_there  # noqa: PLC0415
    from callkeeper_assets.home import home  # noqa: PLC0415
    from callkeeper_assets.supervision import notify  # noqa: PLC0415

    code_port = find_free_port()
    location = f"127.0.0.1:{code_port}"
    workspace = _write_workspace("daemon", location)

    def command(name: str, *words: str, longest_pause_sec: float = 60.0) -> Service:
        arguments = ("-m", "callkeeper_assets.cli.main", *words)
        return Service(name, arguments, None, longest_pause_sec)

    with Supervisor(grace + _BEYOND_GRACE_SEC) as supervisor:
        supervisor.start(command(CODE_SERVER, "code", "--port", str(code_port)))
        if receiver:
            # What is sent meanwhile is lost.
            words = ("webhooks", *_place(receiver))
            supervisor.start(command(mark("The webhook receiver"), *words, longest_pause_sec=5.0))
        if list_alert_lines():
            supervisor.start(command(mark("The process of alerts"), "alerts"))
        prepare(home() / "logs" / "up" / "preparation.log")
        wait_for(CODE_SERVER, lambda: is_listening(code_port), supervisor)
        supervisor.start(command(RUN_SERVER, "runs", "--grace", str(grace)))
        supervisor.start(command(WEB_SERVER, "web", *_place(address), "--code", location))
        # Runs that it does not start would be processes of their own, which no grace is given.
        wait_for(RUN_SERVER, is_run_server_there, supervisor)
        supervisor.start(Service(_DAEMON, ("-m", DAEMON_MODULE, "run", "-w", str(workspace)), None))
        wait_for(WEB_SERVER, lambda: answers(address), supervisor)
        print_note(
            tr("Up. Dagster's UI: {url}; database: {database}", url=address.url, database=database)
        )
        try:
            _look_after(supervisor)
        finally:
            notify("STOPPING=1")
            supervisor.stop(_DAEMON)


def _look_after(supervisor: "Supervisor") -> NoReturn:
    """Keep all services alive until a signal comes, and tell of it."""
    import time  # noqa: PLC0415

    from callkeeper_assets.supervision import find_watchdog_pause, notify  # noqa: PLC0415

    notify("READY=1")
    pause = find_watchdog_pause() or math.inf
    due = 0.0
    while True:
        time.sleep(0.2)
        supervisor.look_after()
        if time.monotonic() >= due:
            notify("WATCHDOG=1")
            due = time.monotonic() + pause
