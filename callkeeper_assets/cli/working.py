"""`callkeeper worker`: this machine's run server, and what takes runs from the broker for it."""

import os
import time
from typing import Final

from callkeeper_assets.cli.console import FAILED, print_error, print_note
from callkeeper_assets.cli.processes import Service, Supervisor, count_places
from callkeeper_assets.cli.serving import LAUNCHER, build_run_server, sends_runs_away
from callkeeper_assets.dagster_ext.broker import BrokerError, find_broker_url
from callkeeper_assets.dagster_ext.run_socket import RUN_SOCKET
from callkeeper_assets.home import dagster_file, home, make_folder
from callkeeper_assets.language import mark, tr

_TAKER: Final = mark("The taker of runs")
_LOOK_SEC: Final = 0.2
# From the kill of a run to the report of it.
_FAREWELL_SEC: Final = 15.0


def _check_ready() -> None:
    """See that runs can come here.

    Raises:
        SystemExit: They cannot; why is said.
    """
    problem = ""
    if not sends_runs_away():
        problem = tr(
            "{file} names another run launcher than {launcher}: nobody sends runs to this "
            "worker. What to write there: docs/several-machines.md",
            file=dagster_file(),
            launcher=LAUNCHER,
        )
    else:
        try:
            find_broker_url()
        except BrokerError as error:
            problem = str(error)
    if problem:
        print_error(problem)
        raise SystemExit(FAILED)


def work(runs: int | None, grace_sec: float) -> None:
    """Do runs until the command is interrupted; then those under way have their grace.

    Args:
        runs: At once; None is two for each processor.
        grace_sec: In which runs may come to their end.

    Raises:
        SystemExit: It cannot begin; why is said.
    """
    _check_ready()
    places = runs or count_places()
    folder = home() / "workers"
    make_folder(folder)
    # Its own: there may be others, and `callkeeper dev`, with this home.
    socket_file = folder / f"{os.getpid()}.sock"
    os.environ[RUN_SOCKET] = str(socket_file)
    logs = home() / "logs" / "worker"
    arguments = ["-m", "callkeeper_assets.worker.run_taker", "--runs", str(places)]
    arguments += ["--grace", f"{grace_sec:g}"]
    with Supervisor(grace_sec + _FAREWELL_SEC) as supervisor:
        try:
            supervisor.start(build_run_server(logs))
            supervisor.start(Service(_TAKER, tuple(arguments), logs / "taker.log"))
            print_note(
                tr(
                    "Takes up to {places} runs at once. Its logs: {logs}. Stop: Ctrl-C",
                    places=places,
                    logs=logs,
                )
            )
            while True:
                time.sleep(_LOOK_SEC)
                supervisor.look_after()
        except KeyboardInterrupt:
            print_note(
                tr("Takes no more runs; those under way have {grace_sec:g} s.", grace_sec=grace_sec)
            )
            supervisor.stop(_TAKER)
        finally:
            socket_file.unlink(missing_ok=True)
