"""Dagster on this machine: one code server, the web server and the daemon that share it."""

import fcntl
import http.client
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from callkeeper_assets.alerts.settings import read_settings
from callkeeper_assets.cli.console import FAILED, print_error, print_note, print_text
from callkeeper_assets.cli.processes import (
    Service,
    Supervisor,
    read_tail,
    start_child,
    stop_children,
)
from callkeeper_assets.cli.selection import describe_broken, explain_no_source, has_sources
from callkeeper_assets.config.errors import MissingSecretError
from callkeeper_assets.config.loading import load_sources
from callkeeper_assets.dagster_ext import DAEMON_MODULE, LOCATION
from callkeeper_assets.dagster_ext.run_socket import is_run_server_there
from callkeeper_assets.home import (
    dagster_file,
    find_lock_problem,
    find_project,
    home,
    make_folder,
    raw_url,
)
from callkeeper_assets.language import look_up, mark, tr
from callkeeper_assets.postgres.errors import DatabaseError
from callkeeper_assets.postgres.url import describe, is_embedded

# The run launcher's class that sends runs to workers.
LAUNCHER: Final = "CeleryLauncher"
CODE_SERVER: Final = mark("The code server")
WEB_SERVER: Final = mark("The web server")
RUN_SERVER: Final = mark("The run server")
_ANY_HOST: Final = ("0.0.0.0", "::", "")  # noqa: S104 -- compared with, not listened at
_LOOK_SEC: Final = 0.2
_BETWEEN_LOOKS_SEC: Final = 0.5
_MOST_DEATHS: Final = 3
# Of sources, whose count follows.
_MOST_NAMES: Final = 20
_UNTIL_ENDED_SEC: Final = 5.0
# What is sent meanwhile is lost: nobody is known to send a webhook twice.
_RECEIVER_PAUSE_SEC: Final = 5.0


@dataclass(frozen=True)
class WebAddress:
    """Where something of ours listens."""

    host: str
    port: int

    @property
    def reachable_host(self) -> str:
        """The host by which this machine reaches it."""
        return "127.0.0.1" if self.host in _ANY_HOST else self.host

    @property
    def url(self) -> str:
        """The address for users of this machine."""
        return f"http://{self.reachable_host}:{self.port}"


def find_free_port() -> int:
    """Return a port that nobody listens at now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def find_port_problem(address: WebAddress) -> str | None:
    """Say why a port cannot be listened at; None if it can."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address.host, address.port))
        except OSError as error:
            return tr(
                "{host}:{port} cannot be listened at: {strerror}",
                host=address.host,
                port=address.port,
                strerror=error.strerror or error,
            )
    return None


@contextmanager
def held_alone(path: Path, what: str) -> Iterator[None]:
    """Hold a lock file; two daemons on one home would run every schedule twice.

    Raises:
        SystemExit: Another process holds it, or locks mean nothing there; that is said.
    """
    problem = find_lock_problem(path.parent)
    if problem:
        print_error(problem)
        raise SystemExit(FAILED)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            print_error(
                tr(
                    "{what} runs already with this home, as process {process}. Stop it, or set "
                    "CALLKEEPER_HOME to another folder (it is {home}).",
                    what=what,
                    process=file.read().strip(),
                    home=home(),
                )
            )
            raise SystemExit(FAILED) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def refuse_second_daemon(url: str) -> None:
    """See that no daemon works with the database, on whichever machine.

    Raises:
        SystemExit: There is one; where is said.
    """
    from callkeeper_assets.dagster_ext.daemon import (  # noqa: PLC0415 -- the database's driver
        explain_second,
        find_daemon,
    )

    deadline = time.monotonic() + _UNTIL_ENDED_SEC
    while other := find_daemon(url):
        # One that was just stopped, or killed, may be ending.
        if time.monotonic() > deadline:
            print_error(explain_second(url, other))
            raise SystemExit(FAILED)
        time.sleep(_LOOK_SEC)


def serve(
    address: WebAddress,
    receiver: WebAddress | None,
    greet: Callable[[], None],
    *,
    has_alerts: bool = False,
) -> None:
    """Run everything until the command is interrupted; the database must be reachable.

    Args:
        address: Where the UI listens.
        receiver: Where webhooks are received; None if no source takes any.
        greet: Is called once the UI answers.
        has_alerts: Whether anybody is to be told what needs a person.

    Raises:
        KeyboardInterrupt: Somebody stopped it; everything has ended by then.
        SystemExit: It does not start; why is said.
    """
    logs = home() / "logs" / "dev"
    port = find_free_port()
    workspace = write_workspace("dev", "127.0.0.1", port)
    with Supervisor() as supervisor:
        supervisor.start(build_run_server(logs))
        if receiver:
            supervisor.start(_receiver(receiver, logs))
        if has_alerts:
            supervisor.start(build_alerts(logs))
        prepare(logs / "preparation.log")
        wait_for(RUN_SERVER, is_run_server_there, supervisor)
        supervisor.start(_code_server(port, logs))
        wait_for(CODE_SERVER, lambda: is_listening(port), supervisor)
        supervisor.start(_web_server(address, workspace, logs))
        supervisor.start(
            Service(
                tr("The daemon"),
                ("-m", DAEMON_MODULE, "run", "-w", str(workspace)),
                logs / "daemon.log",
                is_forked=True,
            )
        )
        greet()
        while True:
            time.sleep(_BETWEEN_LOOKS_SEC)
            supervisor.look_after()


def write_workspace(name: str, host: str, port: int) -> Path:
    """Write the workspace by which Dagster's processes find a code server; `name` is the file's."""
    file = home() / "dev" / f"workspace_{name}.yaml"
    make_folder(file.parent)
    file.write_text(
        f"load_from:\n  - grpc_server:\n      host: {host}\n      port: {port}\n"
        f"      location_name: {LOCATION}\n",
        encoding="utf-8",
    )
    return file


def find_code() -> tuple[str, Path | None]:
    """Return the module that Dagster loads, and the folder to be in; None is anywhere."""
    project = find_project()
    # With sources from elsewhere, as the demo's are, a project's own assets have no part in it.
    if project and not os.environ.get("CALLKEEPER_DEFS"):
        return project.module, project.root
    return "callkeeper_assets.definitions", None


def sends_runs_away() -> bool:
    """Whether `dagster.yaml` has runs done by workers (`callkeeper worker`)."""
    return LAUNCHER in dagster_file().read_text("utf-8")


def build_run_server(logs: Path) -> Service:
    """Return the service that runs are forked from."""
    module, folder = find_code()
    arguments = ["-m", "callkeeper_assets.worker.run_server", module]
    if folder:
        arguments += ["--folder", str(folder)]
    return Service(RUN_SERVER, tuple(arguments), logs / "runs.log")


def _code_server(port: int, logs: Path) -> Service:
    arguments = ["-m", "callkeeper_assets.dagster_ext.code_server"]
    arguments += ["-h", "127.0.0.1", "-p", str(port), "--lazy-load-user-code"]
    module, folder = find_code()
    arguments += ["-m", module, *(("-d", str(folder)) if folder else ())]
    arguments += ["--location-name", LOCATION]
    arguments += ["--use-python-environment-entry-point", "--log-level", "warning"]
    log = logs / "code_server.log"
    return Service(CODE_SERVER, tuple(arguments), log, is_forked=True)


def _web_server(address: WebAddress, workspace: Path, logs: Path) -> Service:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listener = socket.create_server((address.host, address.port), family=family, backlog=128)
    arguments = ["-m", "callkeeper_assets.dagster_ext.web_server", "-h", address.host]
    arguments += ["-p", str(address.port), "-w", str(workspace)]
    return Service(WEB_SERVER, tuple(arguments), logs / "web_server.log", listener=listener)


def _receiver(address: WebAddress, logs: Path) -> Service:
    arguments = ["-m", "callkeeper_assets.cli.main", "webhooks"]
    arguments += ["--host", address.host, "--port", str(address.port)]
    log = logs / "webhooks.log"
    return Service(tr("The webhook receiver"), tuple(arguments), log, _RECEIVER_PAUSE_SEC)


def build_alerts(logs: Path) -> Service:
    """Return the process that tells what needs a person."""
    arguments = ("-m", "callkeeper_assets.cli.main", "alerts")
    return Service(tr("The process of alerts"), arguments, logs / "alerts.log")


def prepare(log: Path) -> None:
    """Make Dagster's tables and mark dead runs as failed, before the daemon counts them.

    Raises:
        SystemExit: It cannot be done; why is said.
    """
    make_folder(log.parent)
    with log.open("wb") as errors:
        process = start_child(
            ["-m", "callkeeper_assets.dagster_ext.dead_runs"],
            stdout=subprocess.PIPE,
            stderr=errors,
        )
        try:
            said, _ = process.communicate()
        finally:
            stop_children([process], 0)
    if process.returncode != 0:
        print_error(tr("Dagster's tables cannot be prepared:\n{tail}", tail=read_tail(log)))
        raise SystemExit(FAILED)
    for line in said.decode("utf-8", "replace").splitlines():
        print_note(line)


def wait_for(name: str, is_ready: Callable[[], bool], supervisor: Supervisor) -> None:
    """Wait until a service is ready.

    Raises:
        SystemExit: It has died too often; why is said.
    """
    while not is_ready():
        supervisor.look_after()
        if supervisor.count_deaths(name) >= _MOST_DEATHS:
            log = supervisor.find_log(name)
            print_error(
                tr(
                    "{name} does not start:\n{tail}\nAll of its log: {log}",
                    name=look_up(name),
                    tail=read_tail(log),
                    log=log,
                )
                if log
                else tr("{name} does not start; why is said above.", name=look_up(name))
            )
            raise SystemExit(FAILED)
        time.sleep(_LOOK_SEC)


def is_listening(port: int) -> bool:
    """Whether somebody on this machine listens at a port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def answers(address: WebAddress) -> bool:
    """Whether Dagster's web server answers there."""
    connection = http.client.HTTPConnection(address.reachable_host, address.port, timeout=5)
    try:
        connection.request("GET", "/server_info")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def list_source_lines() -> list[str]:
    """Return what there is to say of the sources: their names, and what is wrong with any.

    Raises:
        MissingFolderError: `CALLKEEPER_DEFS` names a folder that does not exist.
    """
    if not has_sources():
        return [explain_no_source()]
    sources, broken = load_sources()
    lines = []
    for source in sources:
        readers = (source.read_api_key, source.read_webhook_token)
        for read in readers if source.webhook else readers[:1]:
            try:
                read()
            except MissingSecretError as error:
                lines.append(str(error))
    lines += [describe_broken(refused) for refused in broken]
    names = ", ".join(source.name for source in sources[:_MOST_NAMES])
    if len(sources) > _MOST_NAMES:
        names += f", … ({len(sources)})"
    names = names or tr("none that can be loaded")
    return [tr("Sources:        {names}", names=names), *lines]


def list_alert_lines() -> list[str]:
    """Return what there is to say of alerts; nothing if nobody is named to be told.

    Raises:
        ConfigError: A variable of theirs cannot be what it says.
    """
    settings = read_settings()
    names = [channel.name for channel in settings.channels]
    return [
        tr("Alerts:         {names}", names=", ".join(names) or "none but the ping")
    ] * settings.is_configured


def has_webhooks() -> bool:
    """Whether any source takes webhooks."""
    return any(source.webhook for source in load_sources()[0])


def describe_reader(url: str) -> tuple[str, str]:
    """Return the address by which a BI tool reads the tables, and what is to be known of it.

    Args:
        url: Of the tables' owner, who is for nobody else.
    """
    from callkeeper_assets.warehouse.grants import name_as, open_reader  # noqa: PLC0415 -- drivers
    from callkeeper_assets.warehouse.records import WarehouseError  # noqa: PLC0415

    if not is_embedded():
        how = tr("a role that reads, changes nothing: callkeeper grant ROLE")
        return describe(name_as(url, "ROLE")), how
    try:
        reader = open_reader(url, home() / "postgres")
    except (DatabaseError, WarehouseError) as error:
        return tr("none"), str(error)
    return reader, tr(
        "reads, changes nothing; there while a command of callkeeper runs. From another machine: "
        "ssh -N -L {port}:127.0.0.1:{port} {host}",
        port=urlsplit(url).port,
        host=socket.gethostname(),
    )


def print_greeting(
    address: WebAddress,
    receiver: WebAddress | None,
    url: str,
    lines: Sequence[str],
    typed: str = "callkeeper",
) -> None:
    """Print where everything is, and how to stop it; commands begin by `typed`."""
    print_text()
    print_text(tr("Dagster's UI:   {url}", url=address.url))
    if receiver:
        print_text(
            tr(
                "Webhooks:       {url}; {typed} check prints each source's URL",
                url=receiver.url,
                typed=typed,
            )
        )
    reader, remark = describe_reader(url)
    print_text(tr("Tables for BI:  {database}", database=reader))
    print_text(f"                {remark}")
    print_text(tr("Raw calls:      {place}", place=raw_url()))
    print_text(tr("Logs:           {home}", home=home() / "logs" / "dev"))
    for line in lines:
        print_text(line)
    print_text(tr("Stop:           Ctrl-C"))
