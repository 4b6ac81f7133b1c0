"""A home with sources that take webhooks, receivers as processes, and what the inbox then holds.

A receiver is what a person starts: `callkeeper webhooks`. Its database can be taken away from it
and given back without stopping the server that other tests use.
"""

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psycopg

from callkeeper_assets.cli.serving import find_free_port
from callkeeper_assets.postgres import connect
from callkeeper_assets_tests.waiting import wait_until
from callkeeper_assets_tests.warm import WarmPopen

TOKENS: Final = {"office": "office-token-0123456789", "clinic": "clinic-token-0123456789"}
_DEFS: Final = """\
type: callkeeper_assets.CallKeeperSource
attributes:
  api_key: {{env: {upper}_API_KEY}}
  webhook: {{token: {{env: {upper}_WEBHOOK_TOKEN}}{fields}}}
"""
PATIENCE_SEC: Final = 60.0


@dataclass(frozen=True)
class Answer:
    """What a request got."""

    status: int
    headers: Mapping[str, str]
    body: str

    @property
    def document(self) -> dict[str, Any]:
        """The body as JSON."""
        document: dict[str, Any] = json.loads(self.body)
        return document


@dataclass
class Receiver:
    """A running receiver; each request has a connection of its own."""

    process: "subprocess.Popen[bytes]"
    port: int
    log: Path

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            text = answer.read().decode()
            named = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, named, text)
        finally:
            connection.close()

    def post(self, document: object, source: str = "office") -> int:
        """Post JSON to a source's URL; return the status."""
        headers = {"content-type": "application/json"}
        return self.request("POST", url_of(source), json.dumps(document).encode(), headers).status

    def health(self) -> Answer:
        """What it says of itself."""
        return self.request("GET", "/health")

    def wait_for_database(self, state: str) -> None:
        """Wait until it says that its database is `reachable` or `away`."""
        wait_until(
            lambda: self.health().document["database"] == state,
            f"the database is {state}",
            PATIENCE_SEC,
        )

    def read_log(self) -> str:
        """All that it has said."""
        return self.log.read_text()

    def is_answering(self) -> bool:
        """Whether it answers already."""
        assert self.process.poll() is None, self.read_log()
        try:
            self.health()
        except OSError:
            return False
        return True

    def memory_kb(self) -> int:
        """Resident memory."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        raise AssertionError("no VmRSS")

    def kill(self) -> None:
        """End it at once, as a power failure would."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """End it in order; return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


def url_of(source: str, token: str | None = None) -> str:
    """The path of a source's webhooks."""
    return f"/webhooks/{source}/{TOKENS[source] if token is None else token}"


@dataclass
class Installation:
    """A home; `database` is a PostgreSQL's URL, empty for the embedded one."""

    home: Path
    database: str
    variables: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, token in TOKENS.items():
            self.write_source(name)
            self.variables[f"{name.upper()}_WEBHOOK_TOKEN"] = token

    def write_source(self, name: str, fields: str = "") -> None:
        """Configure a source."""
        folder = self.home / "defs" / name
        folder.mkdir(parents=True, exist_ok=True)
        more = f", fields: {fields}" if fields else ""
        (folder / "defs.yaml").write_text(_DEFS.format(upper=name.upper(), fields=more))

    @property
    def spool(self) -> Path:
        """Where receivers spool."""
        return self.home / "spool"

    @property
    def environment(self) -> dict[str, str]:
        """Of each command."""
        return {
            **os.environ,
            "CALLKEEPER_HOME": str(self.home),
            "CALLKEEPER_DEFS": str(self.home / "defs"),
            "CALLKEEPER_DATABASE_URL": self.database,
            **self.variables,
        }

    def callkeeper(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a command to its end."""
        command = [sys.executable, "-m", "callkeeper_assets.cli.main", *arguments]
        with WarmPopen(
            command,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    @contextmanager
    def receiving(
        self,
        *,
        port: int = 0,
        before: Callable[[], None] | None = None,
        has_database: bool = True,
    ) -> Iterator[Receiver]:
        """Run a receiver, and kill it if it still runs at the end.

        Args:
            port: A free one if left out.
            before: What its process does first.
            has_database: Whether to wait until it has reached its database.
        """
        port = port or find_free_port()
        log = self.home / f"receiver-{port}.log"
        command = [sys.executable, "-m", "callkeeper_assets.cli.main", "webhooks"]
        with log.open("ab") as output:
            process: WarmPopen[bytes] = WarmPopen(
                [*command, "--port", str(port)],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=before,
            )
        receiver = Receiver(process, port, log)
        try:
            wait_until(receiver.is_answering, "the receiver answers", PATIENCE_SEC)
            if has_database:
                receiver.wait_for_database("reachable")
            yield receiver
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()

    def query(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Run a query and return its rows."""
        with psycopg.connect(self.database, autocommit=True) as connection:
            return connection.execute(sql.encode(), values).fetchall()

    def read_inbox(self) -> dict[bytes, tuple[int, str, str | None]]:
        """By body: how often it came, its state and reason."""
        rows = self.query(
            "SELECT body, 1 + (SELECT count(*) FROM callkeeper_webhook_repeats AS r"
            " WHERE (r.account_id, r.webhook_id) = (w.account_id, w.id)), state, reason"
            " FROM callkeeper_webhooks AS w"
        )
        assert len({row[0] for row in rows}) == len(rows)
        return {bytes(body): (count, state, reason) for body, count, state, reason in rows}

    @contextmanager
    def database_away(self) -> Iterator[None]:
        """Take the database away from everybody, connections that there are included."""
        self.set_database(is_there=False)
        try:
            yield
        finally:
            self.set_database(is_there=True)

    def set_database(self, *, is_there: bool) -> None:
        """Let the database take connections, or end those that there are and take none."""
        server, _, name = self.database.rpartition("/")
        with connect(f"{server}/postgres", autocommit=True) as connection:
            connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS {is_there}'.encode())
            if not is_there:
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                    (name,),
                )
