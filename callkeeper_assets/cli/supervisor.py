"""Keeps a few child processes alive: starts again what died, later each time, and says so."""

import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from callkeeper_assets.cli.children import start_child, stop_children
from callkeeper_assets.cli.console import print_warning

_FIRST_PAUSE_SEC: Final = 1.0
_LONGEST_PAUSE_SEC: Final = 60.0
# One that lived so long was well: its next death is not one of a series.
_WELL_AFTER_SEC: Final = 60.0
_GRACE_SEC: Final = 8.0
_LARGEST_LOG: Final = 10_000_000
_TAIL_LINES: Final = 15


@dataclass(frozen=True)
class Service:
    """A process that should always run: `python <arguments>`.

    However often it dies, it is started again after `longest_pause_sec` at most.
    """

    name: str
    arguments: tuple[str, ...]
    log: Path
    longest_pause_sec: float = _LONGEST_PAUSE_SEC


class _Kept:
    """A service and how it has fared."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.deaths = 0
        self.start()

    def start(self) -> None:
        log = self.service.log
        log.parent.mkdir(parents=True, exist_ok=True)
        if log.exists() and log.stat().st_size > _LARGEST_LOG:
            log.replace(log.with_suffix(".old.log"))
        with log.open("ab") as file:
            self.process = start_child(
                self.service.arguments, stdout=file, stderr=subprocess.STDOUT
            )
        self.started = time.monotonic()
        self.again_at: float | None = None

    def look(self, now: float) -> None:
        """Start it again if it died and its pause is over."""
        if self.again_at is not None:
            if now >= self.again_at:
                self.start()
            return
        status = self.process.poll()
        if status is None:
            return
        # What it started itself would be in its successor's way.
        stop_children([self.process], 0)
        self.deaths = 1 if now - self.started > _WELL_AFTER_SEC else self.deaths + 1
        longest = self.service.longest_pause_sec
        pause = min(longest, _FIRST_PAUSE_SEC * 2.0 ** (self.deaths - 1))
        self.again_at = now + pause
        how = f"signal {-status}" if status < 0 else f"exit code {status}"
        print_warning(
            f"{self.service.name} ended ({how}); it is started again in {pause:.2g} s. "
            f"Its log: {self.service.log}"
        )


class Supervisor:
    """The services of one command; a context manager that stops them all at its end."""

    def __init__(self) -> None:
        self._kept: list[_Kept] = []

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

    def find_log(self, name: str) -> Path:
        """Return where a service's log is."""
        return next(kept.service.log for kept in self._kept if kept.service.name == name)

    def stop(self) -> None:
        """Stop all services, the last started first."""
        stop_children([kept.process for kept in reversed(self._kept)], _GRACE_SEC)


def read_tail(log: Path) -> str:
    """Return the last lines of a log."""
    lines: Sequence[str] = []
    if log.exists():
        lines = log.read_text("utf-8", "replace").splitlines()
    return "\n".join(lines[-_TAIL_LINES:])
