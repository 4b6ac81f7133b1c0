"""Workers forked from one process: real processes, which do little so that it takes no time."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from callkeeper_assets.worker.forking import FAREWELL, ask

# What is forked: says its arguments and what was whispered, and ends as its first argument wants.
_CODE = """
import os, signal, socket, sys, time
from callkeeper_assets.worker.forking import serve

def say(text):
    sys.stdout.write(text)
    sys.stdout.flush()

def stop(*_):
    os.write(1, b"stopped\\n")  # it may come while Python's own stream is being written
    os._exit(5)

def run(arguments):
    signal.signal(signal.SIGUSR1, stop)
    if arguments[0] == "die":
        say('{"type": "Said", "half')
        os.kill(os.getpid(), signal.SIGKILL)
    say(f"{os.getpid()} {arguments[1:]} {sys.stdin.readline().strip()}\\n")
    sys.stderr.write("complaint\\n")
    sys.stderr.flush()
    if arguments[0] == "stay":
        time.sleep(60)
    os._exit(int(arguments[0]))

serve(socket.socket(fileno=os.dup(0)), run)
"""


@contextmanager
def _forking() -> Iterator[tuple["subprocess.Popen[bytes]", socket.socket]]:
    mine, its = socket.socketpair()
    with its:
        process = subprocess.Popen([sys.executable, "-c", _CODE], stdin=its.fileno())
    with mine, process:
        try:
            yield process, mine
        finally:
            process.kill()


def _read(number: int) -> list[str]:
    with os.fdopen(number, encoding="utf-8") as stream:
        return stream.read().split("\n")


def test_each_worker_has_its_own_arguments_streams_and_end() -> None:
    with _forking() as (process, link):
        asked = [
            ask(link, ["0", "a", "б\n"], whisper="quietly"),
            ask(link, ["3", "b"]),
        ]
        (first, first_errors), (second, second_errors) = [
            (_read(said), _read(errors)) for said, errors in asked
        ]
        assert first[0].split(" ", 1)[1] == "['a', 'б\\n'] quietly"
        assert first[-2] == '{"type":"Ended","status":0}'
        assert second[0].split(" ", 1)[1] == "['b'] "
        assert second[-2] == '{"type":"Ended","status":3}'
        assert first_errors == second_errors == ["complaint", ""]
        link.close()
        assert process.wait(60) == 0


def test_of_one_that_is_killed_its_signal_is_told_and_the_others_go_on() -> None:
    with _forking() as (_, link):
        staying, _errors = ask(link, ["stay"])
        killed, _errors = ask(link, ["die"])
        after, _errors = ask(link, ["0"])
        # Within a line, which must not hide the message that follows it.
        assert _read(killed)[1:] == ['{"type":"Ended","status":-9}', ""]
        assert _read(after)[-2] == '{"type":"Ended","status":0}'
        with os.fdopen(staying) as stream:
            pid = int(stream.readline().split()[0])
            os.kill(pid, signal.SIGKILL)
            assert stream.read() == '\n{"type":"Ended","status":-9}\n'


@pytest.mark.parametrize("number", [FAREWELL, signal.SIGTERM])
def test_asked_to_stop_it_passes_that_on_and_ends(number: signal.Signals) -> None:
    with _forking() as (process, link):
        streams = [os.fdopen(ask(link, ["stay"])[0]) for _ in range(2)]
        for stream in streams:
            stream.readline()
        process.send_signal(number)
        for stream in streams:
            with stream:
                assert stream.read() == 'stopped\n\n{"type":"Ended","status":5}\n'
        assert process.wait(60) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties a child to its parent")
def test_workers_are_killed_with_the_process_that_forked_them() -> None:
    with _forking() as (process, link), os.fdopen(ask(link, ["stay"])[0]) as stream:
        pid = int(stream.readline().split()[0])
        assert os.getsid(pid) == pid
        process.kill()
        assert stream.read() == ""


def test_of_a_process_that_has_died_a_worker_says_nothing() -> None:
    with _forking() as (process, link):
        process.kill()
        process.wait()
        said, errors = ask(link, ["0"])
        assert _read(said) == _read(errors) == [""]
