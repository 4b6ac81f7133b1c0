"""Processes of the product that begin with everything imported.

A command and its worker spend three seconds of processor time on imports, and so does the code that
a test gives to `python -c`. Here a process that has imported all forks them: each is the child of
who started it, with its own arguments, environment, streams and exit code, and can be signalled and
killed; how a process begins is tested cold, with `subprocess`. A nursery forks twice, so that its
grandchild becomes the child of who asked. Who has children of its own gets a nursery for them
before it does anything: they see nothing of it.
"""

import atexit
import ctypes
import gc
import importlib
import json
import os
import pkgutil
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from typing import Any, AnyStr, Final, NoReturn

import callkeeper_assets
from callkeeper_assets_tests import USUAL_THRESHOLD

_COMMAND: Final = "callkeeper_assets.cli.main"
_WORKER: Final = "callkeeper_assets.worker"
_RUN_SERVER: Final = "callkeeper_assets.worker.run_server"
# What `callkeeper dev` starts, and they in their turn.
_OTHERS: Final = (
    "callkeeper_assets.dagster_ext.dead_runs",
    "dagster",
    "callkeeper_assets.dagster_ext.daemon",
    "callkeeper_assets.worker.run_taker",
    "dagster_webserver",
)
# Imported late by the product; with its own modules these are what takes time.
_LIBRARIES: Final = (
    "alembic.command",
    "dagster._cli",
    "dagster._core.execution.execute_in_process",
    "dagster._core.instance.runs.run_domain",
    "dagster._daemon.cli",
    "dagster._grpc.server",
    "dagster_webserver.cli",
    "pyarrow",
    "rich.console",
    "rich.table",
    "uvicorn",
)
_DO_MORE_THAN_DEFINE: Final = ("__main__", "definitions", "defs", "migrations", "peers")
# From linux/prctl.h.
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_LONGEST_REQUEST: Final = 1 << 17

_prctl: Final = ctypes.CDLL(None).prctl
_guard: Final = threading.Lock()
# This process's end of the socket to its nursery, once it has one.
_links: Final[list[socket.socket]] = []
# Whether this process came out of a nursery itself: true of commands, never of the tests' own.
_forked: Final[list[bool]] = []


class WarmPopen(subprocess.Popen[AnyStr]):
    """`subprocess.Popen` that forks a command, a worker or code of a test's from a nursery."""

    def _execute_child(self, *given: Any) -> None:  # noqa: ANN401 -- as Python hands it on
        arguments, preexec, folder, variables = (given[n] for n in (0, 2, 5, 6))
        environment = dict(os.environ if variables is None else variables)
        # What a test has its process do first has to be done in a fresh one. A command in its
        # turn ties its workers to itself, which the nursery does as well.
        if not _can_be_warm(arguments, environment) or given[4] or (preexec and not _forked):
            super()._execute_child(*given)  # type: ignore[misc]
            return
        ends = given[10:16]
        request = {
            "parent": os.getpid(),
            "words": arguments[1:],
            "environment": environment,
            "folder": os.fspath(folder or "."),
            "has_own_session": bool(given[21]),
            "is_tied": bool(preexec),
        }
        streams = [n if end == -1 else end for n, end in enumerate((ends[0], ends[3], ends[5]))]
        self.pid = _ask(request, streams)
        self._child_created = True
        self._close_pipe_fds(*ends)  # type: ignore[attr-defined]


def _can_be_warm(arguments: object, environment: Mapping[str, str]) -> bool:
    if sys.platform != "linux" or not isinstance(arguments, list) or len(arguments) < 3:
        return False
    python, kind, what, *_ = arguments
    is_known = (kind == "-m" and what in (_COMMAND, _WORKER, _RUN_SERVER, *_OTHERS)) or (
        kind == "-c" and not _forked
    )
    return python == sys.executable and is_known and _settings_of_start(environment) == _SETTINGS


def _settings_of_start(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables by which Python itself begins differently."""
    return {name: value for name, value in environment.items() if name.startswith(_OF_PYTHON)}


_OF_PYTHON: Final = ("PYTHON", "LANG", "LC_", "TZ")
_SETTINGS: Final = _settings_of_start(os.environ)


def _ask(request: Mapping[str, object], streams: list[int]) -> int:
    """Have the nursery start a process; return its id."""
    with _guard:
        if not _links:
            _links.append(_open_nursery())
        # Only for as long as it takes: whoever else is orphaned is not ours to wait for.
        _prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        try:
            socket.send_fds(_links[0], [json.dumps(request).encode()], streams)
            return int(_links[0].recv(32))
        finally:
            _prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def _open_nursery() -> socket.socket:
    """Start a process that imports everything; it ends when this one does."""
    mine, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours = ("CALLKEEPER_", "DAGSTER_")
    process = subprocess.Popen(
        [sys.executable, "-m", __name__, str(its.fileno())],
        pass_fds=[its.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env={name: value for name, value in os.environ.items() if not name.startswith(ours)},
    )
    its.close()

    def close() -> None:
        mine.close()
        process.wait()

    atexit.register(close)
    return mine


def _import_everything() -> None:
    for module in pkgutil.walk_packages(callkeeper_assets.__path__, "callkeeper_assets."):
        if not set(module.name.split(".")) & set(_DO_MORE_THAN_DEFINE):
            importlib.import_module(module.name)
    for name in _LIBRARIES:
        importlib.import_module(name)
    worker, server = map(importlib.import_module, (f"{_WORKER}.__main__", _RUN_SERVER))
    for name in (*worker._OF_DAYS, *server._PRELOADED):
        importlib.import_module(name)
    gc.freeze()
    gc.set_threshold(*USUAL_THRESHOLD)


def _serve(link: socket.socket) -> NoReturn:
    """Fork what is asked for until nobody can ask any more."""
    while True:
        message, streams, _, _ = socket.recv_fds(link, _LONGEST_REQUEST, 3)
        if not message:
            os._exit(0)
        child = os.fork()
        if child == 0:
            if os.fork() == 0:
                _become(json.loads(message), streams, link)
            os._exit(0)
        for stream in streams:
            os.close(stream)
        os.waitpid(child, 0)


def _become(request: Mapping[str, Any], streams: list[int], link: socket.socket) -> NoReturn:
    """Be the process that was asked for."""
    while os.getppid() != request["parent"]:
        time.sleep(0.001)
    kind, what, *arguments = request["words"]
    # These two fork by themselves.
    if what not in (_WORKER, _RUN_SERVER):
        _keep_nursery(streams, link)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    _open_streams()
    if request["has_own_session"]:
        os.setsid()
    if request["is_tied"]:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = [what if kind == "-m" else kind, *arguments]
    link.send(str(os.getpid()).encode())
    link.close()
    _run(kind, what)


def _open_streams() -> None:
    """Open Python's streams anew: whether one can be sought in is asked once."""
    sys.stdin = open(0, encoding=sys.stdin.encoding, closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding=sys.stdout.encoding, closefd=False)  # noqa: SIM115
    sys.stderr = open(  # noqa: SIM115
        2, "w", 1, encoding=sys.stderr.encoding, errors="backslashreplace", closefd=False
    )


def _keep_nursery(streams: list[int], link: socket.socket) -> None:
    """Fork a nursery for this process's own children."""
    mine, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork() == 0:
        for stream in (*streams, link.detach(), mine.detach()):
            os.close(stream)
        _serve(its)
    its.close()
    _links[:] = [mine]
    _forked.append(True)
    subprocess.Popen = WarmPopen  # type: ignore[misc]


def _run(kind: str, module: str) -> NoReturn:
    """Run a module, or text, as `python -m` and `python -c` do, and end."""
    code: object = 0
    try:
        if kind == "-c":
            exec(compile(module, "<string>", "exec"), {"__name__": "__main__"})  # noqa: S102
        elif module == _COMMAND:
            importlib.import_module(_COMMAND).main()
        elif module == _WORKER:
            worker = importlib.import_module(f"{_WORKER}.__main__")
            worker.end_process(worker.main())
        elif module.startswith("dagster"):
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        else:
            importlib.import_module(module).main()
    except SystemExit as end:
        code = end.code
    except BaseException:  # noqa: BLE001 -- as Python does at its end
        traceback.print_exc()
        code = 1
    if isinstance(code, str):
        sys.stderr.write(f"{code}\n")
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 0)


def main() -> NoReturn:
    """Be the nursery of the process that holds the other end of the socket named by its number."""
    _import_everything()
    _serve(socket.socket(fileno=int(sys.argv[1])))


if __name__ == "__main__":
    # Its classes must be those of the module by its name.
    importlib.import_module("callkeeper_assets_tests.warm").main()
