"""A rule applied in processes of its own: it costs a load little time where a processor is idle.

In Python one thread of a process works at a time, and a load's own process is busy. Each process is
`python -m callkeeper_assets.privacy.process`; it gets the rule, key included, and calls on its
standard input, and ends with it. A message is its length (8 bytes, big-endian) and MessagePack.
"""

import gc
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from queue import SimpleQueue
from typing import IO, Final, Self, cast

import msgspec

from callkeeper_assets.privacy.rewriting import Protector
from callkeeper_assets.privacy.rule import Rule

_LENGTH_BYTES: Final = 8
_PATIENCE_SEC: Final = 10.0


class ProcessEndedError(Exception):
    """The process is gone: killed, or there was no memory for it."""


class ProtectorProcess:
    """`Protector.protect_all` elsewhere; for one thread at a time.

    Args:
        rule: The source's.
    """

    def __init__(self, rule: Rule) -> None:
        self._process = subprocess.Popen(  # noqa: S603 -- this module
            [sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        # Pipes were asked for.
        self._to = cast("IO[bytes]", self._process.stdin)
        self._from = cast("IO[bytes]", self._process.stdout)
        _send(self._to, rule)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    def protect_all(self, payloads: Sequence[bytes]) -> list[bytes | None]:
        """Return each call's JSON as the rule wants it; None stands for what is not JSON.

        Raises:
            ProcessEndedError: The process is gone.
        """
        try:
            _send(self._to, payloads)
            return msgspec.msgpack.decode(_receive(self._from), type=list[bytes | None])
        except (OSError, EOFError):
            code = self._process.wait(_PATIENCE_SEC)
            raise ProcessEndedError(
                f"The process that applies the rule of privacy ended too early (code {code}; "
                "-9 is said where memory ran out)."
            ) from None

    def close(self) -> None:
        """End the process."""
        try:
            self._to.close()
            self._process.wait(_PATIENCE_SEC)
        except (OSError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        self._from.close()


class ProtectorPool:
    """Some of these processes, for several threads; a thread waits if all are busy.

    Args:
        rule: The source's.
        processes: How many.
    """

    def __init__(self, rule: Rule, processes: int) -> None:
        self._idle: SimpleQueue[ProtectorProcess] = SimpleQueue()
        with ExitStack() as stack:
            for _ in range(processes):
                self._idle.put(stack.enter_context(ProtectorProcess(rule)))
            self._all = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._all.close()

    def protect_all(self, payloads: Sequence[bytes]) -> list[bytes | None]:
        """As `ProtectorProcess.protect_all`."""
        process = self._idle.get()
        try:
            return process.protect_all(payloads)
        finally:
            self._idle.put(process)


def _send(file: IO[bytes], message: object) -> None:
    content = msgspec.msgpack.encode(message)
    file.write(len(content).to_bytes(_LENGTH_BYTES))
    file.write(content)
    file.flush()


def _receive(file: IO[bytes]) -> bytes:
    """Return the next message.

    Raises:
        EOFError: There is none.
    """
    length = file.read(_LENGTH_BYTES)
    if len(length) < _LENGTH_BYTES:
        raise EOFError
    content = file.read(int.from_bytes(length))
    if len(content) < int.from_bytes(length):
        raise EOFError
    return content


def main() -> None:
    """Apply the rule to calls until standard input ends."""
    # The process that started it stops it: Ctrl-C at a terminal reaches all processes.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    calls, given = sys.stdin.buffer, sys.stdout.buffer
    try:
        protector = Protector(msgspec.msgpack.decode(_receive(calls), type=Rule))
        while True:
            payloads = msgspec.msgpack.decode(_receive(calls), type=list[bytes])
            _send(given, protector.protect_all(payloads))
    except (EOFError, BrokenPipeError):
        return


if __name__ == "__main__":
    main()
