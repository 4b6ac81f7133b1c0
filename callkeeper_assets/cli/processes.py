"""Processes that a command starts: they never outlive it, and those that died are started again.

And its workers, one process a source (`callkeeper_assets.worker`): they run side by side, and what
they say arrives as messages. A worker that ends without its last word was killed, or is broken:
that is said, with its log's place.
"""

import math
import os
import queue
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Any, Final, Self, TypeAlias

import psutil

from callkeeper_assets.cli.console import build_child_environment, print_warning
from callkeeper_assets.dagster_ext import RELOADED
from callkeeper_assets.dagster_ext.run_socket import ask_run_server
from callkeeper_assets.home import build_tie, home, make_folder, project_root
from callkeeper_assets.language import look_up, tr
from callkeeper_assets.privacy.redaction import redact
from callkeeper_assets.reconcile.discrepancies import ComparedDay
from callkeeper_assets.warehouse.records import RetentionResult
from callkeeper_assets.worker.forking import FAREWELL, FORK, ask
from callkeeper_assets.worker.messages import (
    Compared,
    Concluded,
    Ended,
    Failed,
    Finished,
    Message,
    Planned,
    RetentionEnded,
    read_messages,
)

_ASK_AGAIN_SEC: Final = 2.0
_BETWEEN_LOOKS_SEC: Final = 0.05

_FIRST_PAUSE_SEC: Final = 1.0
_LONGEST_PAUSE_SEC: Final = 60.0
# One that lived so long was well: its next death is not one of a series.
_WELL_AFTER_SEC: Final = 60.0
_GRACE_SEC: Final = 8.0
_LARGEST_LOG: Final = 10_000_000
_TAIL_LINES: Final = 15

_MODULE: Final = "callkeeper_assets.worker"
# A run that is interrupted has to be marked as such in the database.
_RUN_GRACE_SEC: Final = 5.0
_LOOK_FOR_SIGNALS_SEC: Final = 0.5

_Heard: TypeAlias = "queue.SimpleQueue[tuple[_Worker, Message | None]]"


def start_child(
    arguments: Sequence[str],
    *,
    stdout: int | IO[bytes],
    stderr: int | IO[bytes],
    stdin: int = subprocess.DEVNULL,
    farewell: signal.Signals = signal.SIGTERM,
    handed: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start `python <arguments>` in the project's root; from the main thread only.

    The kernel ties a child to the thread that started it, not to the process.

    Args:
        arguments: Of Python.
        stdout: As of `subprocess.Popen`.
        stderr: The same.
        stdin: The same; empty unless it is said.
        farewell: What the child gets when this process is killed.
        handed: Files that it keeps open, by number.
    """
    return subprocess.Popen(  # noqa: S603 -- our own modules
        [sys.executable, *arguments],
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        env=build_child_environment(),
        cwd=project_root(),
        start_new_session=True,
        pass_fds=handed,
        # Safe beside threads: the child makes one system call before it becomes another program.
        preexec_fn=build_tie(farewell),  # noqa: PLW1509
    )


class Forked:
    """A process that the run server has forked, used as a child of our own."""

    def __init__(self, arguments: Sequence[str], log: Path) -> None:
        """Have `python <arguments>` forked; these begin with `-m`, and a module's name.

        Raises:
            OSError: The run server does not answer; it is started again by and by.
        """
        answer = ask_run_server({"service": arguments[1:], "log": str(log)})
        if answer is None:
            raise ConnectionError("no run server listens")
        self.pid = int(str(answer["process"]).rsplit(" ", 2)[1])
        self._process: psutil.Process | None = None
        self._code: int | None = None
        # It may have ended already; then there is nothing to look after.
        with suppress(psutil.NoSuchProcess):
            self._process = psutil.Process(self.pid)

    def poll(self) -> int | None:
        """Return None while it lives, else its exit code: 0 where nobody knows it any more."""
        with suppress(psutil.NoSuchProcess):
            if (
                self._process
                and self._process.is_running()
                and self._process.status() != psutil.STATUS_ZOMBIE
            ):
                return None
        if self._code is None:
            answer: dict[str, Any] = {}
            with suppress(OSError):
                answer = ask_run_server({"ended": self.pid}) or {}
            if answer.get("is_ending"):
                return None
            self._code = answer.get("code") or 0
        return self._code

    def send_signal(self, number: int) -> None:
        """Send a signal, if it lives."""
        with suppress(ProcessLookupError):
            if self.poll() is None:
                os.kill(self.pid, number)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end.

        Raises:
            subprocess.TimeoutExpired: It lives on.
        """
        end = time.monotonic() + (timeout or math.inf)
        while self.poll() is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired("a forked service", timeout or 0)
            time.sleep(_BETWEEN_LOOKS_SEC)
        return self._code or 0


Process: TypeAlias = "subprocess.Popen[bytes] | Forked"


def _signal_group(process: Process, number: signal.Signals) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return


def stop_children(
    processes: Iterable[Process],
    grace_sec: float,
    farewell: signal.Signals = signal.SIGTERM,
) -> None:
    """Ask processes to end; after `grace_sec` kill what is left of them and of their children.

    They are asked again every other second: Dagster takes an interrupt at a bad moment for a step
    that failed, and waits to run it again. A second Ctrl-C meanwhile kills them at once.
    """
    everyone = list(processes)
    deadline = time.monotonic() + grace_sec
    try:
        while any(process.poll() is None for process in everyone) and time.monotonic() < deadline:
            for process in everyone:
                process.send_signal(farewell)
            _wait_for_end(everyone, min(deadline, time.monotonic() + _ASK_AGAIN_SEC))
    except KeyboardInterrupt:
        return
    finally:
        for process in everyone:
            # Those that ended in time may have left children in their group.
            _signal_group(process, signal.SIGKILL)
            process.wait()


def _wait_for_end(processes: Iterable[Process], until: float) -> None:
    for process in processes:
        try:
            process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            return


@dataclass(frozen=True)
class Service:
    """A process that should always run: `python <arguments>`.

    However often it dies, it is started again after `longest_pause_sec` at most. Without a log it
    writes where this process does.

    Attributes:
        is_forked: it is a fork of the run server, with which it shares memory; it has a log.
        listener: it is started when somebody connects, and given the number of this socket as its
            first argument; it may end when nobody is connected any more.
    """

    name: str
    arguments: tuple[str, ...]
    log: Path | None
    longest_pause_sec: float = _LONGEST_PAUSE_SEC
    is_forked: bool = False
    listener: socket.socket | None = None


def _open_log(log: Path | None) -> IO[bytes]:
    if log is None:
        return os.fdopen(os.dup(2), "ab")
    make_folder(log.parent)
    return log.open("ab")


def _turn_over(log: Path) -> None:
    """Keep a log that has grown large as `.old.log`, and let it begin anew.

    Its service, which writes at its end, goes on writing to the same file: so it is copied and
    emptied. What is written between the two is lost.
    """
    with suppress(OSError):
        if log.stat().st_size > _LARGEST_LOG:
            shutil.copyfile(log, log.with_suffix(".old.log"))
            os.truncate(log, 0)


class _Kept:
    """A service and how it has fared."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.deaths = 0
        self.started = 0.0
        self.process: Process | None = None
        self.again_at: float | None = 0.0
        self.look(time.monotonic())

    def _start(self) -> None:
        arguments = list(self.service.arguments)
        if self.service.is_forked and self.service.log:
            make_folder(self.service.log.parent)
            self.process = Forked(arguments, self.service.log)
        else:
            handed = []
            if self.service.listener is not None:
                handed = [self.service.listener.fileno()]
                arguments.insert(2, str(handed[0]))
            with _open_log(self.service.log) as file:
                self.process = start_child(
                    arguments, stdout=file, stderr=subprocess.STDOUT, handed=handed
                )
        self.started = time.monotonic()
        self.again_at = None

    def look(self, now: float) -> None:
        """Start it again if it died and its pause is over, and if it is wanted."""
        if self.service.log is not None:
            _turn_over(self.service.log)
        if self.process is None or self.again_at is not None:
            if now >= (self.again_at or 0.0) and self._is_wanted():
                self._try_to_start(now)
            return
        status = self.process.poll()
        if status is None:
            return
        if status == (RELOADED if self.service.listener is None else 0):
            # It has the code read anew, or nobody looks at it.
            self.process = None
            return
        # What it started itself would be in its successor's way.
        stop_children([self.process], 0)
        self._note_death(now, f"signal {-status}" if status < 0 else f"exit code {status}")

    def _is_wanted(self) -> bool:
        listener = self.service.listener
        return listener is None or bool(select.select([listener], [], [], 0)[0])

    def _try_to_start(self, now: float) -> None:
        try:
            self._start()
        except OSError as error:
            self.started = now
            self._note_death(now, str(error))

    def _note_death(self, now: float, how: str) -> None:
        self.deaths = 1 if now - self.started > _WELL_AFTER_SEC else self.deaths + 1
        longest = self.service.longest_pause_sec
        pause = min(longest, _FIRST_PAUSE_SEC * 2.0 ** (self.deaths - 1))
        self.again_at = now + pause
        log = tr(" Its log: {log}", log=self.service.log) if self.service.log else ""
        print_warning(
            tr(
                "{service} ended ({how}); it is started again in {pause:.2g} s.{log}",
                service=look_up(self.service.name),
                how=how,
                pause=pause,
                log=log,
            )
        )


class Supervisor:
    """The services of one command; a context manager that stops them all at its end.

    Args:
        grace_sec: How long they have to their end, before they are killed.
    """

    def __init__(self, grace_sec: float = _GRACE_SEC) -> None:
        self._kept: list[_Kept] = []
        self._grace_sec = grace_sec

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, service: Service) -> None:
        """Start a service, and keep it alive from now on."""
        self._kept.append(_Kept(service))

    def look_after(self) -> None:
        """Start again what has died, if its time has come; to be called often."""
        for kept in self._kept:
            kept.look(time.monotonic())

    def count_deaths(self, name: str) -> int:
        """Return how often in a row a service has died."""
        return sum(kept.deaths for kept in self._kept if kept.service.name == name)

    def find_log(self, name: str) -> Path | None:
        """Return where a service's log is; None if it has none of its own."""
        return next(kept.service.log for kept in self._kept if kept.service.name == name)

    def stop(self, *names: str) -> None:
        """Stop all services, the last started first; or those that are named."""
        kept = [one for one in reversed(self._kept) if not names or one.service.name in names]
        stop_children([one.process for one in kept if one.process], self._grace_sec)


def read_tail(log: Path | None) -> str:
    """Return the last lines of a log; none where there is none."""
    lines: Sequence[str] = []
    if log and log.exists():
        lines = log.read_text("utf-8", "replace").splitlines()
    return "\n".join(lines[-_TAIL_LINES:])


@dataclass(frozen=True)
class Task:
    """What a worker is started for: a source, and the worker's other arguments.

    Attributes:
        whisper: a line on the worker's standard input: what no list of processes may show.
    """

    source: str
    arguments: tuple[str, ...]
    whisper: str = field(default="", repr=False)


@dataclass
class SourceOutcome:
    """What came of a task; `days` is None if it failed before it knew them."""

    source: str
    days: int | None = None
    runs: list[Finished] = field(default_factory=list)
    compared: list[ComparedDay] = field(default_factory=list)
    retained: RetentionResult | None = None
    document: dict[str, Any] | None = None
    errors: list[str] = field(default_factory=list)
    seconds: float = 0.0


class InterruptedRunError(Exception):
    """Somebody stopped the command; its workers have ended."""


def _name_log(name: str) -> Path:
    moment = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    return home() / "logs" / "commands" / f"{moment}-{name}-{os.getpid()}.log"


def _keep(errors: IO[bytes], log: Path) -> None:
    """Keep what a process prints as errors, if it prints any: a log of its last words."""
    lines = TextIOWrapper(errors, "utf-8", "replace")
    first = lines.readline()
    if not first:
        return
    make_folder(log.parent)
    with log.open("w", encoding="utf-8") as file:
        for line in (first, *lines):
            file.write(redact(line))
            file.flush()


class _Alone:
    """Starts workers one by one, each a process that imports all for itself."""

    log: Path | None = None

    def start(self, task: Task) -> tuple[subprocess.Popen[bytes], IO[bytes], IO[bytes]]:
        """Start a task's worker; return it, what it says, and its errors."""
        process = start_child(
            ["-m", _MODULE, task.source, *task.arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.PIPE if task.whisper else subprocess.DEVNULL,
            farewell=FAREWELL,
        )
        if process.stdin is not None:
            # It may have died already; then its end is reported.
            with suppress(BrokenPipeError), process.stdin as whispering:
                whispering.write(f"{task.whisper}\n".encode())
        assert process.stdout is not None  # noqa: S101 -- pipes, as was asked for
        assert process.stderr is not None  # noqa: S101
        return process, process.stdout, process.stderr

    def end(self) -> None:
        """Nothing is left of it."""


class _Forking:
    """Has workers forked from one process (`worker.forking`)."""

    def __init__(self) -> None:
        self._link, its = socket.socketpair()
        with its:
            self._process = start_child(
                ["-m", _MODULE, FORK],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                stdin=its.fileno(),
                farewell=FAREWELL,
            )
        self.log: Path | None = _name_log("workers")
        threading.Thread(target=_keep, args=(self._process.stderr, self.log)).start()

    def start(self, task: Task) -> tuple[subprocess.Popen[bytes], IO[bytes], IO[bytes]]:
        """Have a task's worker forked; return whom to signal, what it says, and its errors."""
        said, errors = ask(self._link, [task.source, *task.arguments], task.whisper)
        return self._process, os.fdopen(said, "rb"), os.fdopen(errors, "rb")

    def end(self) -> None:
        """Ask for no more workers, and wait for the end of what forks them."""
        self._link.close()
        self._process.wait()


class _Worker:
    """One process and the threads that read what it says."""

    def __init__(self, task: Task, starter: _Alone | _Forking, heard: "_Heard") -> None:
        self.outcome = SourceOutcome(task.source)
        self.started = time.monotonic()
        # Its own, or that of the process which was to fork it.
        self._logs = [_name_log(task.source), *([starter.log] if starter.log else [])]
        self.process, said, errors = starter.start(task)
        self._status: int | None = None
        self._heard = heard
        self._threads = [
            threading.Thread(target=self._listen, args=(said,)),
            threading.Thread(target=_keep, args=(errors, self._logs[0])),
        ]
        for thread in self._threads:
            thread.start()

    def _listen(self, said: IO[bytes]) -> None:
        for message in read_messages(TextIOWrapper(said, "utf-8", "replace")):
            if isinstance(message, Ended):
                self._status = message.status
            else:
                self._heard.put((self, message))
        self._heard.put((self, None))

    def end(self) -> None:
        """Wait for the end of a process that says nothing more, and decide how it went."""
        for thread in self._threads:
            thread.join()
        status = self.process.wait() if self._status is None else self._status
        self.outcome.seconds = time.monotonic() - self.started
        if status != 0 and not self.outcome.errors:
            self.outcome.errors.append(self._describe_death(status))

    def _describe_death(self, status: int) -> str:
        how = (
            tr("was killed (signal {signal})", signal=-status)
            if status < 0
            else tr("ended (exit code {code})", code=status)
        )
        text = tr(
            "the process of the load {how}. Days loaded so far stay loaded. Run the command again.",
            how=how,
        )
        if -status == signal.SIGKILL:
            text += tr(" If nobody killed it, the machine was out of memory: see dmesg.")
        log = next((one for one in self._logs if one.exists()), None)
        if log is None:
            return text
        last_line = log.read_text("utf-8").strip().rpartition("\n")[2]
        return text + tr(
            " Its last words: {last_line} (all of them: {log})", last_line=last_line, log=log
        )


def count_places() -> int:
    """Return how many workers run side by side at most: each waits for the source half the time."""
    return 2 * (os.cpu_count() or 1)


def run_tasks(
    tasks: Sequence[Task],
    watch: Callable[[Message], None],
    meanwhile: Callable[[], object] = lambda: None,
) -> list[SourceOutcome]:
    """Run a worker for each task and return what came of each, in the order of the tasks.

    Args:
        tasks: One for each source.
        watch: Is given every message, in this thread; a worker's death comes as `Failed`.
        meanwhile: Is called once when the first workers have been started, and may raise.

    Raises:
        InterruptedRunError: The command was interrupted.
    """
    heard: _Heard = queue.SimpleQueue()
    waiting = deque(tasks)
    workers: list[_Worker] = []
    running = 0
    starter = _Forking() if len(tasks) > 1 else _Alone()
    try:
        while waiting or running:
            while waiting and running < count_places():
                workers.append(_Worker(waiting.popleft(), starter, heard))
                running += 1
            meanwhile()
            meanwhile = lambda: None  # noqa: E731
            worker, message = _hear(heard)
            if message is None:
                running -= 1
                _finish(worker, watch)
            else:
                _note(worker.outcome, message)
                watch(message)
    except BaseException as error:
        everyone = dict.fromkeys(worker.process for worker in workers)
        stop_children(everyone, _RUN_GRACE_SEC, FAREWELL)
        for worker in workers:
            worker.end()
        if isinstance(error, KeyboardInterrupt):
            raise InterruptedRunError from None
        raise
    finally:
        starter.end()
    return [worker.outcome for worker in workers]


def _hear(heard: _Heard) -> tuple[_Worker, Message | None]:
    """Return the next message, and look for signals meanwhile.

    A Ctrl-C that the system gives to another thread does not wake this one from a lock, and only
    this one runs handlers.
    """
    while True:
        with suppress(queue.Empty):
            return heard.get(timeout=_LOOK_FOR_SIGNALS_SEC)


def _finish(worker: _Worker, watch: Callable[[Message], None]) -> None:
    known = len(worker.outcome.errors)
    worker.end()
    for error in worker.outcome.errors[known:]:
        watch(Failed(source=worker.outcome.source, error=error))


def _note(outcome: SourceOutcome, message: Message) -> None:
    if isinstance(message, Planned):
        outcome.days = message.days
    elif isinstance(message, Finished):
        outcome.runs.append(message)
    elif isinstance(message, Compared):
        outcome.compared.append(message.day)
    elif isinstance(message, RetentionEnded):
        outcome.retained = message.retained
    elif isinstance(message, Concluded):
        outcome.document = message.document
    elif isinstance(message, Failed):
        outcome.errors.append(message.error)
