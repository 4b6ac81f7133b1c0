"""A simulated account, a source for it, and the command as a user types it: as a process.

`callkeeper` runs one to its end, from a process that has imported everything (see `warm`);
`started` starts one, cold for tests of how it begins and how it is ended.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import pytest

from callkeeper_assets.simulator.server import RunningSimulator, run_simulator
from callkeeper_assets.simulator.settings import AccountSettings
from callkeeper_assets_tests.templates import Template
from callkeeper_assets_tests.warm import WarmPopen

KEY = "0123456789abcdef0123456789abcdef"
ZONE = "Europe/Moscow"
CALLS_PER_DAY = 30


_PIPES: Final[Any] = {
    "stdin": subprocess.DEVNULL,
    "stdout": subprocess.PIPE,
    "stderr": subprocess.PIPE,
    "text": True,
}


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    def document(self) -> Any:  # noqa: ANN401 -- JSON
        """What `--json` printed."""
        return json.loads(self.out)


def today() -> date:
    """The sources' current day."""
    return datetime.now(ZoneInfo(ZONE)).date()


def days_ago(days: int) -> str:
    """A day as it is typed."""
    return (today() - timedelta(days=days)).isoformat()


def callkeeper(*arguments: str, timeout: float = 120) -> Done:
    """Run a command to its end."""
    with _ended_at_last(WarmPopen(_command(arguments), **_PIPES)) as process:
        out, err = process.communicate(timeout=timeout)
    return Done(process.returncode, out, err)


@contextmanager
def started(*arguments: str, is_warm: bool = False) -> Iterator["subprocess.Popen[str]"]:
    """Start a command; kill it if the test has not ended it. A warm one has a child more."""
    kind: type[subprocess.Popen[str]] = WarmPopen if is_warm else subprocess.Popen
    with _ended_at_last(kind(_command(arguments), **_PIPES)) as process:
        yield process


def _command(arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "callkeeper_assets.cli.main", *arguments]


@contextmanager
def _ended_at_last(process: "subprocess.Popen[str]") -> Iterator["subprocess.Popen[str]"]:
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable that would make Rich or Typer take a pipe for a terminal."""
    for name in ("FORCE_COLOR", "GITHUB_ACTIONS", "PY_COLORS", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def simulator() -> Iterator[RunningSimulator]:
    """One account; its clock stands, so that no call comes between two loads."""
    account = AccountSettings(
        key=KEY, name="main", calls_per_day=CALLS_PER_DAY, rhythm="flat", time_zone=ZONE
    )
    with run_simulator([account], now=datetime.now(UTC)) as running:
        yield running


@pytest.fixture
def defs(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of sources, in force."""
    folder = home / "defs"
    folder.mkdir(parents=True)
    monkeypatch.setenv("CALLKEEPER_DEFS", str(folder))
    return folder


def write_source(defs: Path, name: str, *lines: str) -> None:
    """Write a source whose key is in the variable `<NAME>_API_KEY`."""
    file = defs / name / "defs.yaml"
    file.parent.mkdir()
    attributes = (f"api_key: {{env: {name.upper()}_API_KEY}}", *lines)
    text = "\n".join(f"  {line}" for line in attributes)
    file.write_text(f"type: callkeeper_assets.CallKeeperSource\nattributes:\n{text}\n")


@pytest.fixture
def main_office(
    defs: Path, simulator: RunningSimulator, monkeypatch: pytest.MonkeyPatch
) -> RunningSimulator:
    """The source `main_office` of the simulated account."""
    monkeypatch.setenv("MAIN_OFFICE_API_KEY", KEY)
    write_source(defs, "main_office", f"base_url: {simulator.base_url}", f"time_zone: {ZONE}")
    return simulator


@pytest.fixture(scope="session")
def template() -> Template:
    """Commands start runs: Dagster's tables are needed, too."""
    return Template.INSTALLATION
