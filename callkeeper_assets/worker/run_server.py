"""The process that Dagster's runs are forked from: `python -m callkeeper_assets.worker.run_server`.

It imports the code location once, and forks itself for each run that the launcher asks for. Before
each it compares what it has imported with the files: if a source, its project or the product has
changed, it begins anew and reads all of it first: a run has the definitions of its launch's moment.
It has one thread and no connection while it forks; a run takes nothing along into the next. When it
ends, it gives runs their time; those that are not done are run again.
"""

import argparse
import gc
import importlib
import json
import math
import os
import runpy
import selectors
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn

from callkeeper_assets.home import (
    build_tie,
    find_project,
    keep_memory,
    make_folder,
    name_this,
    skip_pandas,
)

gc.set_threshold(50_000, 20, 100)
skip_pandas()
# A run of a few days lives for a second, and would have memory cleared for it again and again; one
# of pyarrow's own allocators takes some MB at once, and another a thread.
keep_memory(1 << 27, 1 << 23, in_one_heap=True)
os.environ.update(
    ARROW_DEFAULT_MEMORY_POOL="system", JE_ARROW_MALLOC_CONF="background_thread:false"
)

import dagster as dg  # noqa: E402 -- after the settings
import psutil  # noqa: E402

from callkeeper_assets.config.loading import defs_folder  # noqa: E402
from callkeeper_assets.dagster_ext.launcher import (  # noqa: E402
    execute_run,
    hand_over_runs,
    name_process,
    report_lost_run,
)
from callkeeper_assets.dagster_ext.room import measure_room  # noqa: E402
from callkeeper_assets.dagster_ext.run_socket import reachable, socket_file  # noqa: E402
from callkeeper_assets.dagster_ext.warming import WarmInstance  # noqa: E402
from callkeeper_assets.postgres.errors import DatabaseError  # noqa: E402
from callkeeper_assets.postgres.url import database_url, release_database  # noqa: E402
from callkeeper_assets.supervision import find_watchdog_pause, notify  # noqa: E402
from callkeeper_assets.warehouse.migrate import ensure_schema  # noqa: E402
from callkeeper_assets.warehouse.records import WarehouseError  # noqa: E402
from callkeeper_assets.warehouse.session import prepare_sessions  # noqa: E402
from callkeeper_assets.warehouse.transform import prepare_duckdb  # noqa: E402

# What a run imports, so once here and not in each.
_PRELOADED: Final = (
    "callkeeper_assets.callkeeper.client",
    "callkeeper_assets.dagster_ext.run_queue",
    "callkeeper_assets.dagster_ext.storage",
    "callkeeper_assets.personal_data.shield",
    "callkeeper_assets.postgres.connection",
    "callkeeper_assets.privacy.rewriting",
    "callkeeper_assets.reconcile.reconciliation",
    "callkeeper_assets.reports.loading",
    "callkeeper_assets.warehouse.checks",
    "callkeeper_assets.warehouse.loader",
    "callkeeper_assets.webhooks.processing",
    "dagster._cli.api",
    "dagster._core.execution.plan.active",
    "dagster._core.executor.in_process",
    "dagster._core.instance.factory",
    "dagster._core.secrets.env_file",
    "dagster._core.storage.root",
    "dagster._core.storage.sqlite_storage",
    "dagster._core.system_config.composite_descent",
    "dagster._core.workspace.autodiscovery",
    "fsspec.implementations.chained",
    "netrc",
    "psycopg2.extras",
    "pyarrow.parquet",
    "upath.implementations.local",
)
_LONGEST_REQUEST: Final = 1 << 20
# What the process hands over to itself when it begins anew: its listening socket, and the
# connection and text of the request that found the code changed.
_HANDED_OVER: Final = "CALLKEEPER_RUN_SERVER"
_PATIENCE_SEC: Final = 5.0
_LOOK_SEC: Final = 1.0
# So much memory a run of a few days takes of its own, and so much is left to all others. A run that
# began a moment ago has not taken its part yet.
_OF_A_RUN: Final = 128 << 20
_LEFT_TO_OTHERS: Final = 192 << 20
_UNTIL_GROWN_SEC: Final = 8.0
# Runs at work on a core; one that waits for its source is not, and holds up nobody. At work is who
# uses a core for so much of the time, or waits for one.
_AT_WORK: Final = 4
_AT_WORK_FROM: Final = 0.2
# So coarse are the times that a kernel gives to files.
_CLOCK_STEP_NS: Final = 20_000_000
# `callkeeper dev` kills after 8 s: so long a run may take to its end, unless somebody says so.
_UNTIL_END_SEC: Final = 3.0
# So long runs may take to stop, asked again each second; Dagster misses one at a bad moment.
_FAREWELL_SEC: Final = 3.0
_ASK_AGAIN_SEC: Final = 1.0
# Until those that did not stop, too, are said to be run again.
_REPORT_SEC: Final = 10.0
_PACKAGE: Final = Path(__file__).parents[1]
_LIBRARIES: Final = f"{os.sep}site-packages{os.sep}"

_File = tuple[str, int, int, int]


def read_fingerprint(folders: Sequence[Path]) -> frozenset[_File]:
    """Return the name, times and size of each file that the definitions are made of.

    Args:
        folders: Of sources, with all that is in them. What is imported of this product, and of the
            user's project, is looked at besides.
    """
    project = find_project()
    roots = (str(_PACKAGE), *map(str, folders), *([str(project.root)] if project else []))
    imported = (getattr(module, "__file__", None) or "" for module in sys.modules.values())
    files = {file for file in imported if file.startswith(roots) and _LIBRARIES not in file}
    files.update(str(file) for file in _PACKAGE.rglob("*.py"))
    for folder in folders:
        files.update(str(file) for file in folder.rglob("*") if "__pycache__" not in file.parts)
    return frozenset(_describe(file) for file in files)


def _describe(file: str) -> _File:
    try:
        state = os.stat(file)  # noqa: PTH116 -- some 300 a run
    except OSError:
        return (file, 0, 0, 0)
    return (file, state.st_mtime_ns, state.st_ctime_ns, state.st_size)


@dataclass
class _Run:
    """A run's process, and what it had used when it was looked at: seconds of cores."""

    request: dict[str, Any]
    began_at: float = field(default_factory=time.monotonic)
    looked_at: float = 0.0
    cpu_sec: float = 0.0
    has_worked: bool = True

    def look(self, number: int) -> bool:
        """Whether it has worked of late, and not just waited: in a second at least."""
        now, used = time.monotonic(), self.cpu_sec
        if now - self.looked_at < _LOOK_SEC:
            return self.has_worked
        with suppress(psutil.NoSuchProcess):
            used = sum(psutil.Process(number).cpu_times()[:2]) + _read_delay_sec(number)
        since = now - (self.looked_at or self.began_at)
        self.has_worked = not self.looked_at or used - self.cpu_sec > _AT_WORK_FROM * since
        self.looked_at, self.cpu_sec = now, used
        return self.has_worked


def _read_delay_sec(number: int) -> float:
    """Return how long a process's main thread has waited for a core; 0 where nobody counts that."""
    with suppress(OSError, IndexError):
        return int(Path(f"/proc/{number}/schedstat").read_text("ascii").split()[1]) / 1e9
    return 0.0


class RunServer:
    """Forks processes for runs, one request after another.

    Attributes:
        services: Forks that are no runs, by their number: the exit codes of those that have ended.
    """

    def __init__(
        self,
        listener: socket.socket,
        runs: Sequence[tuple[int, dict[str, Any]]] = (),
        services: Sequence[tuple[int, int | None]] = (),
    ) -> None:
        self._listener = listener
        self._folders = [defs_folder()]
        self._runs = {number: _Run(request) for number, request in runs}
        self.services = dict(services)
        self._error = ""

    def read_code(self, modules: Sequence[str]) -> None:
        """Import what runs need; what cannot be imported, runs will be told."""
        began = time.time_ns() - _CLOCK_STEP_NS
        try:
            for name in (*_PRELOADED, *modules):
                module = importlib.import_module(name)
                for value in vars(module).values():
                    if isinstance(value, dg.Definitions):
                        # Built once, and shared by the processes of all runs.
                        value.get_repository_def().get_all_jobs()
        except Exception:  # noqa: BLE001 -- code of users: whatever it is, a run is told
            self._error = traceback.format_exc()
        files = read_fingerprint(self._folders)
        # What was written while it was read may have been read before: it is read again.
        is_settled = all(changed < began for _, _, changed, _ in files)
        self._fingerprint = files if is_settled else frozenset()
        # In a process that ends: what a migration imports, 20 MB, is for no run.
        os.waitpid(self._fork_for(_make_tables, "", ""), 0)
        self._instance = WarmInstance()
        with suppress(DatabaseError):
            prepare_sessions(database_url())
        gc.collect()
        gc.freeze()

    def serve(self, first: tuple[socket.socket, bytes] | None) -> None:
        """Answer requests until a signal ends the process; then interrupt the runs under way."""
        if first:
            self._answer(*first, is_new=True)
        notify("READY=1")
        pause = find_watchdog_pause() or math.inf
        due = 0.0
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            while True:
                is_asked = selector.select(min(_LOOK_SEC, pause))
                if time.monotonic() >= due:
                    notify("WATCHDOG=1")
                    due = time.monotonic() + pause
                self._take_leave()
                if is_asked:
                    connection, _ = self._listener.accept()
                    connection.settimeout(_PATIENCE_SEC)
                    # A launcher that went away, or no launcher at all.
                    with suppress(OSError, ValueError), connection.makefile("rb") as lines:
                        self._answer(connection, lines.readline(_LONGEST_REQUEST))

    def _take_leave(self) -> None:
        """Report the runs whose processes have ended without bringing them to an end."""
        with suppress(ChildProcessError):
            while True:
                number, status = os.waitpid(-1, os.WNOHANG)
                if not number:
                    return
                run = self._runs.pop(number, None)
                if number in self.services:
                    self.services[number] = os.waitstatus_to_exitcode(status)
                elif run and status:
                    self._fork_for(report_lost_run, run.request["run_id"], run.request["instance"])

    def end(self, until_end_sec: float) -> None:
        """Let runs under way come to their end; interrupt those that do not, to be run again.

        Args:
            until_end_sec: How long they have.
        """
        notify("STOPPING=1")
        # Nobody may hurry it: supervisors ask again and again, and then kill.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        self._listener.close()
        children = psutil.Process().children()
        services = [child for child in children if child.pid in self.services]
        for service in services:
            with suppress(psutil.NoSuchProcess):
                service.terminate()
        mine = [child for child in children if child.pid in self._runs]
        _, runs = psutil.wait_procs(mine, timeout=until_end_sec)
        if runs:
            self._end_runs(runs)
        # The embedded database is stopped by its last user, which has to be this process.
        _, services = psutil.wait_procs(services, timeout=_ASK_AGAIN_SEC)
        for service in services:
            with suppress(psutil.NoSuchProcess):
                service.kill()
        psutil.wait_procs(services)

    def _end_runs(self, runs: list[psutil.Process]) -> None:
        requests = {run.pid: self._runs[run.pid].request for run in runs}
        self._hand_over(list(requests.values()))
        deadline = time.monotonic() + _FAREWELL_SEC
        while runs and time.monotonic() < deadline:
            for run in runs:
                with suppress(psutil.NoSuchProcess):
                    run.send_signal(signal.SIGINT)
            _, runs = psutil.wait_procs(runs, timeout=_ASK_AGAIN_SEC)
        for run in runs:
            run.kill()
        psutil.wait_procs(runs)
        reports = [
            self._fork_for(
                report_lost_run, requests[run.pid]["run_id"], requests[run.pid]["instance"]
            )
            for run in runs
        ]
        psutil.wait_procs(list(map(psutil.Process, reports)), timeout=_REPORT_SEC)

    def _hand_over(self, requests: Sequence[dict[str, Any]]) -> None:
        """Have runs run again that will be interrupted: marked before, they fail as such."""
        run_ids = [request["run_id"] for request in requests]

        def mark(_run_id: str, reference: str) -> None:
            hand_over_runs(run_ids, reference)

        marking = self._fork_for(mark, requests[0]["run_id"], requests[0]["instance"])
        psutil.wait_procs([psutil.Process(marking)], timeout=_REPORT_SEC)

    def _answer(self, connection: socket.socket, request: bytes, *, is_new: bool = False) -> None:
        """Answer; `is_new` says that the code was read for this request."""
        with connection:
            if not request.endswith(b"\n"):
                return
            asked: dict[str, Any] = json.loads(request)
            if "places" in asked or "ended" in asked:
                known = (
                    {"places": self._count_places()}
                    if "places" in asked
                    else self._tell_end(asked["ended"])
                )
                connection.sendall(json.dumps(known).encode() + b"\n")
                return
            if not is_new and (
                # What cannot be imported is not known by its files.
                self._error or read_fingerprint(self._folders) != self._fingerprint
            ):
                self._begin_anew(connection, request)
            if "service" in asked:
                answer = {"process": name_process(self._fork_service(asked, connection))}
            elif self._error:
                answer = {"error": f"The code of the project cannot be read:\n{self._error}"}
            else:
                answer = {"process": name_process(self._fork(asked, connection))}
            connection.sendall(json.dumps(answer).encode() + b"\n")

    def _tell_end(self, number: int) -> dict[str, int | bool | None]:
        """Say how a service ended: its first thread is seen as ended before the others are."""
        if number in self.services and self.services[number] is None:
            return {"is_ending": True}
        return {"code": self.services.pop(number, None)}

    def _begin_anew(self, connection: socket.socket, request: bytes) -> NoReturn:
        handed = {
            "listener": os.dup(self._listener.fileno()),
            "connection": os.dup(connection.fileno()),
            "request": request.decode(),
            "services": list(self.services.items()),
            "runs": [(number, run.request) for number, run in self._runs.items()],
        }
        for name in ("listener", "connection"):
            os.set_inheritable(int(str(handed[name])), True)
        os.environ[_HANDED_OVER] = json.dumps(handed)
        os.execv(sys.executable, [sys.executable, "-m", __spec__.name, *sys.argv[1:]])  # noqa: S606 -- itself

    def _fork_service(self, request: dict[str, Any], connection: socket.socket) -> int:
        def serve(log: str, module: str) -> None:
            os.setsid()
            name_this(module.rpartition(".")[2].strip("_"))
            with open(log, "ab") as file:  # noqa: PTH123 -- a descriptor is wanted
                for stream in (1, 2):
                    os.dup2(file.fileno(), stream)
            sys.argv = [module, *request["service"][1:]]
            runpy.run_module(module, run_name="__main__", alter_sys=True)

        number = self._fork_for(serve, request["log"], request["service"][0], connection)
        self.services[number] = None
        return number

    def _fork(self, request: dict[str, Any], connection: socket.socket) -> int:
        # Not before there is a run: it takes 24 MB.
        prepare_duckdb()
        number = self._fork_for(self._execute, request["run_id"], request["instance"], connection)
        self._runs[number] = _Run(request)
        return number

    def _execute(self, run_id: str, reference: str) -> int:
        return execute_run(run_id, reference, self._instance.take(reference))

    def _count_places(self) -> int:
        """Return how many runs more this machine holds now: memory, and cores for those at work."""
        at_work = sum(run.look(number) for number, run in self._runs.items())
        grown = time.monotonic() - _UNTIL_GROWN_SEC
        growing = sum(run.began_at > grown for run in self._runs.values())
        room = (measure_room() - _LEFT_TO_OTHERS) // _OF_A_RUN - growing
        places = min(room, _AT_WORK * (os.cpu_count() or 1) - at_work)
        # However little there is: one at a time.
        return max(places, 0 if self._runs else 1)

    def _fork_for(
        self,
        act: Callable[[str, str], int | None],
        first: str,
        second: str,
        connection: socket.socket | None = None,
    ) -> int:
        """Do something in a process of its own; return its number."""
        # Who kills this server ends its forks, too: nobody else would stop them.
        tie = build_tie(signal.SIGKILL)
        number = os.fork()
        if number:
            return number
        code = 1
        try:
            if tie:
                tie()
            self._listener.close()
            if connection:
                connection.close()
            _wake_for_signals()
            code = act(first, second) or 0
        except SystemExit as end:
            code = int(end.code or 0)
        except BaseException:  # noqa: BLE001 -- the last that this process does
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)


def _make_tables(*_: str) -> None:
    """Bring the tables to this version before anybody else has to; who cannot, will say so."""
    with suppress(DatabaseError, WarehouseError):
        ensure_schema(database_url())


def _wake_for_signals() -> None:
    """Have the main thread woken, whatever it waits for, when the process is asked to stop.

    The system may give a signal to any thread, and only the main one runs handlers: while it waits
    for a lock, as for another thread's result, it would not be told.
    """
    woken, waker = socket.socketpair()
    waker.setblocking(False)
    main_thread = threading.get_ident()
    signal.signal(signal.SIGURG, lambda *_: None)
    signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)

    def wake() -> None:
        # Held here: at its end the socket would be closed.
        while received := woken.recv(64):
            if {signal.SIGINT, signal.SIGTERM} & set(received) and waker.fileno() >= 0:
                signal.pthread_kill(main_thread, signal.SIGURG)

    threading.Thread(target=wake, name="callkeeper-signals", daemon=True).start()


def _listen() -> socket.socket:
    file = socket_file()
    make_folder(file.parent)
    file.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    with reachable(file) as name:
        mask = os.umask(0o077)
        try:
            listener.bind(name)
        finally:
            os.umask(mask)
    listener.listen(128)
    return listener


def main() -> None:
    """Serve until a signal ends the process."""
    parser = argparse.ArgumentParser(prog="callkeeper_assets.worker.run_server")
    parser.add_argument("modules", nargs="+", help="what Dagster loads the definitions from")
    parser.add_argument("--folder", help="the project's: modules are found there")
    parser.add_argument(
        "--grace", type=float, default=_UNTIL_END_SEC, help="seconds that runs have to their end"
    )
    options = parser.parse_args()
    if options.folder:
        os.chdir(options.folder)
        sys.path.insert(0, options.folder)
    # Before anybody sees that it listens.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    server = None
    try:
        handed = json.loads(os.environ.pop(_HANDED_OVER, "null"))
        if handed:
            listener = socket.socket(fileno=handed["listener"])
            first = socket.socket(fileno=handed["connection"]), handed["request"].encode()
        else:
            listener, first = _listen(), None
        server = RunServer(listener, *((handed["runs"], handed["services"]) if handed else ()))
        server.read_code(options.modules)
        server.serve(first)
    except KeyboardInterrupt:
        if server:
            server.end(options.grace)
        release_database()
        # What is frozen is not taken apart: DuckDB would list all of it as leaked.
        os._exit(0)


if __name__ == "__main__":
    main()
