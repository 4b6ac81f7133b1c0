"""A pooler in transaction mode, as PgBouncer is, for machines that have none; and PgBouncer itself.

It serves a transaction of any client's by any of its own sessions at the server. Knows no COPY, and
lets everybody in.
"""

import os
import shutil
import socket
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import psycopg

_INT = 4
_SSL, _GSS = 80877103, 80877104
_REPORTED = ("server_version", "server_encoding", "client_encoding", "standard_conforming_strings")
Order = Literal["last_used_first", "by_turns"]


class _Server:
    """A session at the server, which libpq has opened."""

    def __init__(self, url: str) -> None:
        self.connection = psycopg.connect(url, autocommit=True)
        self.socket = socket.socket(fileno=os.dup(self.connection.fileno()))
        self.socket.setblocking(True)


class Pooler:
    """Serves the clients of an address by sessions at a server."""

    def __init__(self, url: str, order: Order, sessions: int) -> None:
        self._order = order
        self._servers = [_Server(url) for _ in range(sessions)]
        self._idle = deque(self._servers)
        self._free = threading.Semaphore(sessions)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Let no client in any more, and end the sessions."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in self._servers:
            one.socket.close()
            one.connection.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            while _read_int(client, _INT * 2) in (_SSL, _GSS):
                client.sendall(b"N")
            info = self._servers[0].connection.info
            client.sendall(_pack(b"R", bytes(_INT)))
            for name in _REPORTED:
                value = info.parameter_status(name) or ""
                client.sendall(_pack(b"S", f"{name}\0{value}\0".encode()))
            client.sendall(_pack(b"K", bytes(range(2 * _INT))) + _pack(b"Z", b"I"))
            while self._serve_transaction(client):
                pass

    def _serve_transaction(self, client: socket.socket) -> bool:
        kind, message = _read(client)
        if kind in (b"X", b""):
            return False
        self._free.acquire()
        server = self._idle.pop() if self._order == "last_used_first" else self._idle.popleft()
        try:
            state = b""
            while state != b"I":
                while True:
                    server.socket.sendall(message)
                    if kind in (b"Q", b"S"):
                        break
                    kind, message = _read(client)
                state = _pass_answer(server.socket, client)
                if state != b"I":
                    kind, message = _read(client)
        finally:
            self._idle.append(server)
            self._free.release()
        return True


def _pass_answer(server: socket.socket, client: socket.socket) -> bytes:
    """Pass the server's messages on until it is ready; return whether in a transaction."""
    while True:
        kind, message = _read(server)
        client.sendall(message)
        if kind == b"Z":
            return message[-1:]


def _pack(kind: bytes, body: bytes) -> bytes:
    return kind + (len(body) + _INT).to_bytes(_INT, "big") + body


def _read_int(sender: socket.socket, size: int) -> int:
    """Read a start packet; return what it asks for."""
    head = _take(sender, size)
    _take(sender, int.from_bytes(head[:_INT], "big") - size)
    return int.from_bytes(head[_INT:], "big")


def _read(sender: socket.socket) -> tuple[bytes, bytes]:
    """Read a message; return its kind, and all of it."""
    kind = _take(sender, 1)
    length = _take(sender, _INT)
    return kind, kind + length + _take(sender, int.from_bytes(length, "big") - _INT)


def _take(sender: socket.socket, size: int) -> bytes:
    taken = b""
    while len(taken) < size:
        chunk = sender.recv(size - len(taken))
        if not chunk:
            raise OSError("the connection is closed")
        taken += chunk
    return taken


@contextmanager
def run_pooler(url: str, order: Order = "last_used_first", sessions: int = 2) -> Iterator[str]:
    """Run a pooler before a database; yields the URL by which clients reach it."""
    pooler = Pooler(url, order, sessions)
    yield _redirect(url, pooler.port)
    pooler.close()


@contextmanager
def run_pgbouncer(url: str, folder: Path, **settings: str) -> Iterator[str]:
    """Run PgBouncer before a database; yields the URL by which clients reach it."""
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program is not None
    parts = urlsplit(url)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    lines = [f"{name} = {value}" for name, value in settings.items()]
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n{parts.path[1:]} = host={parts.hostname} port={parts.port} "
        f"user={parts.username} password={parts.password}\n[pgbouncer]\n"
        f"listen_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = any\n"
        f"unix_socket_dir =\n" + "\n".join(lines) + "\n"
    )
    (folder / "pgbouncer.ini").chmod(0o644)
    with subprocess.Popen(
        [program, "--quiet", "--user", "nobody", str(folder / "pgbouncer.ini")]
        if os.geteuid() == 0
        else [program, "--quiet", str(folder / "pgbouncer.ini")],
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            _await_port(port)
            yield _redirect(url, port)
        finally:
            process.terminate()


def _await_port(port: int) -> None:
    for _ in range(100):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.05)
    raise AssertionError("PgBouncer does not answer")


def _redirect(url: str, port: int) -> str:
    parts = urlsplit(url)
    user = parts.netloc.rpartition("@")[0]
    return parts._replace(netloc=f"{user}@127.0.0.1:{port}").geturl()
