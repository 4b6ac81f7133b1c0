"""A network that stalls: a proxy that takes connections and bytes, and holds them back.

What stalls closes nothing: the other side sees an open connection, and no answer.
"""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

_CHUNK = 65_536


@dataclass
class Network:
    """What lies before a server.

    Attributes:
        port: At which clients reach the server.
        connections: How many came.
        is_open: Bytes pass while it is set.
    """

    port: int
    connections: int = 0
    is_open: threading.Event = field(default_factory=threading.Event)
    _answered: int | None = None

    def stall(self) -> None:
        """Hold back all from now on."""
        self.is_open.clear()

    def stall_answers_after(self, size: int) -> None:
        """Pass so many bytes of the next answers, of all together, and hold back from then on."""
        self._answered = size

    def go_on(self) -> None:
        """Pass all again, first what was held back."""
        self._answered = None
        self.is_open.set()

    def carry(self, source: socket.socket, target: socket.socket, *, is_answer: bool) -> None:
        """Carry what one side sends."""
        with suppress(OSError):
            while chunk := source.recv(_CHUNK):
                passed = len(chunk) if self.is_open.is_set() else 0
                if is_answer and self._answered is not None:
                    passed = min(passed, self._answered)
                    self._answered -= passed
                    if not self._answered:
                        self.stall()
                target.sendall(chunk[:passed])
                self.is_open.wait()
                target.sendall(chunk[passed:])
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


@contextmanager
def run_network(port: int) -> Iterator[Network]:
    """Have a network before the server at a port of this machine."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        network = Network(listener.getsockname()[1])
        network.is_open.set()
        sockets: list[socket.socket] = []

        def accept() -> None:
            with suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    network.connections += 1
                    server = socket.create_connection(("127.0.0.1", port))
                    sockets.extend((client, server))
                    for pair, is_answer in (((client, server), False), ((server, client), True)):
                        threading.Thread(
                            target=network.carry,
                            args=pair,
                            kwargs={"is_answer": is_answer},
                            daemon=True,
                        ).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield network
        finally:
            network.go_on()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for one in sockets:
                one.close()
