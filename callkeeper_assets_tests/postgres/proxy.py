"""A proxy before PostgreSQL that does something at a chosen statement: mostly, cuts the connection.

Client and server are real; only what lies between them, a network, is made here.
"""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

_CHUNK = 65_536
# The end of an answer, which says that it is one: so much of the first of it is not passed on.
_END = 20
# Of a statement: before the server gets it, or while it answers.
Moment = Literal["before", "answering"]


@dataclass
class _Link:
    """A client's connection and its own one to the server."""

    client: socket.socket
    server: socket.socket
    is_last_answer: bool = False

    def cut(self) -> None:
        """End both, as a firewall does."""
        for one in (self.client, self.server):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


@dataclass
class Proxy:
    """A proxy that runs.

    Attributes:
        url: by which clients reach the database through it.
        sent: how many chunks clients have sent.
        hits: how often a mark was met.
    """

    url: str
    sent: int = 0
    hits: int = 0
    _mark: bytes = b""
    _left: int = 0
    _act: Callable[[], None] | None = None
    _moment: Moment = "before"
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def cut_at(self, mark: bytes, *, nth: int = 1, moment: Moment = "before") -> None:
        """Cut the connection whose client sends the mark for the nth time."""
        self._mark, self._left, self._moment, self._act = mark, nth, moment, None

    def act_at(self, mark: bytes, act: Callable[[], None]) -> None:
        """Do something before the server gets the mark, and pass it on."""
        self._mark, self._left, self._moment, self._act = mark, 1, "before", act

    def meets(self, chunk: bytes) -> bool:
        """Count a chunk of a client's; return whether it is the one."""
        with self._guard:
            self.sent += 1
            if not self._left or self._mark not in chunk:
                return False
            self._left -= 1
            if self._left:
                return False
            self.hits += 1
            return True

    def carry(self, link: _Link) -> None:
        """Carry what a client sends."""
        with suppress(OSError):
            while chunk := link.client.recv(_CHUNK):
                if self.meets(chunk):
                    if self._act:
                        self._act()
                    elif self._moment == "before":
                        break
                    else:
                        link.is_last_answer = True
                link.server.sendall(chunk)
        link.cut()


def _answer(link: _Link) -> None:
    with suppress(OSError):
        while chunk := link.server.recv(_CHUNK):
            if link.is_last_answer:
                link.client.sendall(chunk[:-_END])
                break
            link.client.sendall(chunk)
    link.cut()


@contextmanager
def run_proxy(url: str) -> Iterator[Proxy]:
    """Run a proxy before the database of a URL."""
    parts = urlsplit(url)
    assert parts.hostname
    target = (parts.hostname, parts.port or 5432)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        user = parts.netloc.rpartition("@")[0]
        netloc = f"{user}@127.0.0.1:{listener.getsockname()[1]}"
        proxy = Proxy(parts._replace(netloc=netloc).geturl())
        links: list[_Link] = []

        def accept() -> None:
            with suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    link = _Link(client, socket.create_connection(target))
                    links.append(link)
                    for work in (proxy.carry, _answer):
                        threading.Thread(target=work, args=(link,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield proxy
        listener.shutdown(socket.SHUT_RDWR)
        for link in links:
            link.cut()
            link.client.close()
            link.server.close()
