"""All that webhooks pass through, in processes that are killed and started again.

Receiver, runs over the inbox, and the embedded database, which whoever needs it starts again.
"""

import http.client
import json
import subprocess
import time
from dataclasses import dataclass, field
from typing import Final, Literal, Self

from callkeeper_assets.cli.serving import find_free_port
from callkeeper_assets_tests.chaos.embedded_server import kill_server
from callkeeper_assets_tests.chaos.installation import Installation
from callkeeper_assets_tests.waiting import wait_until

Victim = Literal["receiver", "run", "server"]
VICTIMS: Final[tuple[Victim, ...]] = ("receiver", "run", "server")

_RECEIVER: Final = ("callkeeper_assets.cli.main", "webhooks", "--port")
_RUNS: Final = ("callkeeper_assets_tests.chaos.inbox_runs",)
_PEACE_SEC: Final = 180.0


@dataclass
class _Kept:
    """A process that is started again when it ends, as a supervisor would."""

    installation: Installation
    command: tuple[str, ...]
    process: "subprocess.Popen[str] | None" = None
    said: list[str] = field(default_factory=list)

    def look_after(self) -> None:
        if self.process is None:
            self.process = self.installation.start(*self.command)
        elif self.process.poll() is not None:
            self.said.append("".join(self.process.communicate()))
            self.process = self.installation.start(*self.command)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()

    def end(self) -> None:
        if self.process is not None:
            # Not asked to: Dagster puts off a SIGTERM that comes during a run, for ever if it ends.
            self.process.kill()
            self.said.append("".join(self.process.communicate(timeout=60)))
            self.process = None


class WebhookChain:
    """The processes of one installation; a context manager that ends them.

    Two processes work on the inbox side by side, as a run does beside one that was given up.
    """

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self.port = find_free_port()
        self._receiver = _Kept(installation, (*_RECEIVER, str(self.port)))
        self._runs = [_Kept(installation, _RUNS) for _ in range(2)]
        self._turn = 0

    def __enter__(self) -> Self:
        self.wait_until_ready()
        return self

    def __exit__(self, *_: object) -> None:
        for kept in (self._receiver, *self._runs):
            kept.end()

    @property
    def said(self) -> str:
        """What all processes wrote that have ended."""
        return "\n".join(text for kept in (self._receiver, *self._runs) for text in kept.said)

    def look_after(self) -> None:
        """Start what has ended; to be called often."""
        for kept in (self._receiver, *self._runs):
            kept.look_after()

    def wait_until_ready(self) -> None:
        """Wait until the receiver answers, and a process of runs looks into the inbox."""
        wait_until(self._is_ready, "the processes are up", 120)

    def kill(self, victim: Victim) -> None:
        """Kill one with -9."""
        if victim == "server":
            kill_server(self._installation.home)
        elif victim == "receiver":
            self._receiver.kill()
        else:
            self._turn += 1
            self._runs[self._turn % len(self._runs)].kill()

    def wait_for_peace(self) -> None:
        """Wait until nothing is on its way any more."""
        deadline = time.monotonic() + _PEACE_SEC
        while not self._is_calm():
            assert time.monotonic() < deadline, f"not all was processed within {_PEACE_SEC:g} s"
            self.look_after()
            time.sleep(0.1)

    def _is_ready(self) -> bool:
        self.look_after()
        pids = [kept.process.pid for kept in self._runs if kept.process]
        is_up = any((self._installation.home / f"inbox-runs-{pid}").exists() for pid in pids)
        return is_up and self._ask_health() is not None

    def _is_calm(self) -> bool:
        health = self._ask_health()
        if not health or health["database"] != "reachable" or health["spooled"]:
            return False
        spool = self._installation.home / "spool"
        waiting = "SELECT count(*) FROM callkeeper_webhooks WHERE state = 'new'"
        return not list(spool.glob("*.sqlite")) and self._installation.query(waiting) == [(0,)]

    def _ask_health(self) -> dict[str, object] | None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/health")
            document: dict[str, object] = json.load(connection.getresponse())
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()
        return document
