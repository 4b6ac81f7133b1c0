"""Workers forked from one process, which has imported what all of them need.

A worker's imports take two seconds of processor time. A command of several sources starts
`python -m callkeeper_assets.worker --fork` and asks it for a worker for each (`ask`): they differ
from those that it would start one by one in nothing that they do. Only what makes no threads is
imported before (pyarrow makes some): they would be missing after the fork.
"""

import json
import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, NoReturn

from callkeeper_assets.home import build_tie
from callkeeper_assets.worker.messages import Ended, write_message

# In place of a source.
FORK: Final = "--fork"
# Asks the worker to stop. Dagster puts off SIGTERM while it waits.
FAREWELL: Final = signal.SIGUSR1
_ASK: Final = b"."
_STREAMS: Final = 3

Run = Callable[[Sequence[str]], NoReturn]


def ask(link: socket.socket, arguments: Sequence[str], whisper: str = "") -> tuple[int, int]:
    """Ask for a worker with these arguments at the other end of `link`.

    Args:
        link: To a process that does `serve`.
        arguments: Of the worker.
        whisper: A line on its standard input.

    Returns:
        The ends to read its standard output and error from: file numbers. The output ends with
        `Ended`, unless the process that was asked has died.
    """
    (stdin, told), (said, stdout), (kept, stderr) = os.pipe(), os.pipe(), os.pipe()
    with os.fdopen(told, "w", encoding="utf-8") as stream, suppress(BrokenPipeError):
        stream.write(f"{json.dumps(list(arguments))}\n{whisper}\n")
    with suppress(BrokenPipeError):
        socket.send_fds(link, [_ASK], [stdin, stdout, stderr])
    for number in (stdin, stdout, stderr):
        os.close(number)
    return said, kept


def serve(link: socket.socket, run: Run) -> None:
    """Fork the workers that are asked for; return when nobody asks any more and all have ended.

    Args:
        link: Where they are asked for, one by one.
        run: Is given a worker's arguments, in the process that is the worker.
    """
    workers: dict[int, int] = {}
    asking = [link]

    def stop(*_: object) -> None:
        asking.clear()
        for pid in workers:
            with suppress(ProcessLookupError):
                os.kill(pid, FAREWELL)

    woken, waker = socket.socketpair()
    waker.setblocking(False)
    signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    for number in (FAREWELL, signal.SIGTERM):
        signal.signal(number, stop)
    while asking or workers:
        ready, _, _ = select.select([woken, *asking], [], [])
        if woken in ready:
            woken.recv(4096)
            _take_leave(workers)
        if link in ready:
            asked, streams, _, _ = socket.recv_fds(link, len(_ASK), _STREAMS)
            if not asked:
                asking.clear()
                continue
            _fork(workers, streams, [link, woken, waker], run)
            if not asking:
                stop()  # it was asked for before, and meant this one as well


def _take_leave(workers: dict[int, int]) -> None:
    """Say of those that have ended how they did."""
    for pid in list(workers):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            with suppress(BrokenPipeError), os.fdopen(workers.pop(pid), "w") as stream:
                stream.write("\n")  # it may have been killed within a line
                write_message(stream, Ended(status=os.waitstatus_to_exitcode(status)))


def _fork(
    workers: dict[int, int], streams: list[int], ours: Sequence[socket.socket], run: Run
) -> None:
    stdin, stdout, stderr = streams
    # What asks it to stop is passed on to its workers; if it is killed, so are they.
    tie = build_tie(signal.SIGKILL)
    pid = os.fork()
    if pid:
        workers[pid] = stdout
        os.close(stdin)
        os.close(stderr)
        return
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, FAREWELL, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    if tie:
        tie()
        # Linux shares processors out by sessions: as many as if each had been started alone.
        os.setsid()
    for one in ours:
        one.close()
    for other in workers.values():
        os.close(other)
    for place, stream in enumerate(streams):
        os.dup2(stream, place)
        os.close(stream)
    run(json.loads(sys.stdin.readline()))
