"""Runs the worker processes of a command, side by side, and gathers what came of them.

One process a source (`callkeeper_assets.worker`); what it says arrives as messages. A worker
that ends without its last word was killed, or is broken: that is said, with its log's place.
"""

import os
import queue
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import TextIOWrapper
from typing import Any, Final, TypeAlias

from callkeeper_assets.cli.processes import start_child, stop_children
from callkeeper_assets.home import home
from callkeeper_assets.privacy.redaction import redact
from callkeeper_assets.worker.messages import (
    Compared,
    Concluded,
    Failed,
    Finished,
    Message,
    Planned,
    Retained,
    read_messages,
)

_MODULE: Final = "callkeeper_assets.worker"
# A run that is interrupted has to be marked as such in the database.
_GRACE_SEC: Final = 5.0
# The worker's own: Dagster puts off SIGTERM while it waits.
_FAREWELL: Final = signal.SIGUSR1


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
    compared: list[Compared] = field(default_factory=list)
    retained: Retained | None = None
    document: dict[str, Any] | None = None
    errors: list[str] = field(default_factory=list)
    seconds: float = 0.0


class InterruptedRunError(Exception):
    """Somebody stopped the command; its workers have ended."""


_Heard: TypeAlias = "queue.SimpleQueue[tuple[_Worker, Message | None]]"


class _Worker:
    """One process and the threads that read what it says."""

    def __init__(self, task: Task, heard: "_Heard") -> None:
        self.outcome = SourceOutcome(task.source)
        self.started = time.monotonic()
        moment = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        self.log = home() / "logs" / "commands" / f"{moment}-{task.source}-{os.getpid()}.log"
        self.process = start_child(
            ["-m", _MODULE, task.source, *task.arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.PIPE if task.whisper else subprocess.DEVNULL,
            farewell=_FAREWELL,
        )
        if self.process.stdin is not None:
            # It may have died already; then its end is reported.
            with suppress(BrokenPipeError), self.process.stdin as whispering:
                whispering.write(f"{task.whisper}\n".encode())
        self._heard = heard
        self._threads = [threading.Thread(target=self._listen), threading.Thread(target=self._keep)]
        for thread in self._threads:
            thread.start()

    def _listen(self) -> None:
        assert self.process.stdout is not None  # noqa: S101 -- a pipe, see __init__
        for message in read_messages(TextIOWrapper(self.process.stdout, "utf-8", "replace")):
            self._heard.put((self, message))
        self._heard.put((self, None))

    def _keep(self) -> None:
        """Keep what the process prints as errors, if it prints any: a log of its last words."""
        assert self.process.stderr is not None  # noqa: S101
        lines = TextIOWrapper(self.process.stderr, "utf-8", "replace")
        first = lines.readline()
        if not first:
            return
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("w", encoding="utf-8") as file:
            for line in (first, *lines):
                file.write(redact(line))
                file.flush()

    def end(self) -> None:
        """Wait for the end of a process that says nothing more, and decide how it went."""
        status = self.process.wait()
        for thread in self._threads:
            thread.join()
        self.outcome.seconds = time.monotonic() - self.started
        if status != 0 and not self.outcome.errors:
            self.outcome.errors.append(self._describe_death(status))

    def _describe_death(self, status: int) -> str:
        how = f"was killed (signal {-status})" if status < 0 else f"ended (exit code {status})"
        text = (
            f"the process of the load {how}. Days loaded so far stay loaded. Run the command again."
        )
        if -status == signal.SIGKILL:
            text += " If nobody killed it, the machine was out of memory: see dmesg."
        if not self.log.exists():
            return text
        last_line = self.log.read_text("utf-8").strip().rpartition("\n")[2]
        return f"{text} Its last words: {last_line} (all of them: {self.log})"


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
    try:
        while waiting or running:
            while waiting and running < count_places():
                workers.append(_Worker(waiting.popleft(), heard))
                running += 1
            meanwhile()
            meanwhile = lambda: None  # noqa: E731
            worker, message = heard.get()
            if message is None:
                running -= 1
                _finish(worker, watch)
            else:
                _note(worker.outcome, message)
                watch(message)
    except BaseException as error:
        stop_children([worker.process for worker in workers], _GRACE_SEC, _FAREWELL)
        for worker in workers:
            worker.end()
        if isinstance(error, KeyboardInterrupt):
            raise InterruptedRunError from None
        raise
    return [worker.outcome for worker in workers]


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
        outcome.compared.append(message)
    elif isinstance(message, Retained):
        outcome.retained = message
    elif isinstance(message, Concluded):
        outcome.document = message.document
    elif isinstance(message, Failed):
        outcome.errors.append(message.error)
