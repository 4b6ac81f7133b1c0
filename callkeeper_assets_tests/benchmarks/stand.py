"""Where all contenders run: one simulator, one PostgreSQL, a folder that goes if all went well.

The simulator and the server are those of the product, in processes of their own; each contender has
a database of its own.
"""

import datetime as dt
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Final, Self
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from callkeeper_assets.callkeeper.records import ApiName
from callkeeper_assets.postgres import EmbeddedPostgres, connect

ROOT: Final = Path(__file__).resolve().parents[2]
TIME_ZONE: Final = "Europe/Moscow"
CALLS_A_DAY: Final = 1000
# The user's own installation; and Python's switches, of which PYTHONDONTWRITEBYTECODE alone has
# every start of a process compile all that it imports.
_LEFT_OUT: Final = ("CALLKEEPER_", "DAGSTER_", "PYTHON")


def today() -> dt.date:
    """The day that it is in the accounts' zone."""
    return dt.datetime.now(ZoneInfo(TIME_ZONE)).date()


def make_key(number: int) -> str:
    """The API key of an account."""
    return f"{number:032x}"


def plain_environment() -> dict[str, str]:
    """This process's environment, without what would make the commands other than a person's."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_LEFT_OUT)}


class Stand:
    """The simulator and the database server, running.

    Args:
        accounts: their names; each has `CALLS_A_DAY` calls on each day.
        first_day: no call is older.
        calls_a_day: of accounts that have another number.
    """

    def __init__(
        self,
        accounts: Sequence[str],
        first_day: dt.date,
        calls_a_day: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        self.keys: Mapping[str, str] = {
            name: make_key(n) for n, name in enumerate(accounts, start=1)
        }
        self.folder = Path(tempfile.mkdtemp(prefix="callkeeper-bench-"))
        # Root's embedded server runs as another user, who has to pass.
        self.folder.chmod(0o755)
        self.first_day = first_day
        self._calls_a_day = calls_a_day
        self._postgres = EmbeddedPostgres(self.folder / "server")
        self._simulator: subprocess.Popen[str] | None = None
        self._server_url = ""
        self.api_url = ""

    def __enter__(self) -> Self:
        try:
            self._server_url = self._postgres.start()
            self._start_simulator()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
        if isinstance(error, Exception):
            sys.stderr.write(f"What the commands wrote is kept in {self.folder}\n")
        else:
            shutil.rmtree(self.folder, ignore_errors=True)

    def close(self) -> None:
        """Stop both; the folder stays, without the server's data."""
        if self._simulator is not None:
            self._simulator.terminate()
            self._simulator.wait()
        self._postgres.stop()
        shutil.rmtree((self.folder / "server" / "postgres").resolve(), ignore_errors=True)

    def _start_simulator(self) -> None:
        command = [sys.executable, "-m", "callkeeper_assets.cli.main", "simulate", "--port", "0"]
        command += ["--rhythm", "flat", "--calls-per-day", str(CALLS_A_DAY)]
        command += ["--time-zone", TIME_ZONE, "--first-day", self.first_day.isoformat()]
        # Ahead: today's calls have all happened and are final, so that each day has its 1,000.
        now = dt.datetime.now(dt.UTC) + dt.timedelta(days=5)
        command += ["--now", now.isoformat(timespec="seconds")]
        for name, key in self.keys.items():
            calls = self._calls_a_day.get(name, CALLS_A_DAY)
            command += ["--account", f"{key},name={name},calls_per_day={calls}"]
        self._simulator = subprocess.Popen(
            command, cwd=ROOT, env=plain_environment(), stdout=subprocess.PIPE, text=True
        )
        assert self._simulator.stdout is not None
        for line in self._simulator.stdout:
            address = line.rpartition(" ")[2].strip()
            if address.startswith("http"):
                self.api_url = address
                # It says a line of each account: of a thousand more than a pipe holds.
                threading.Thread(target=self._simulator.stdout.read, daemon=True).start()
                return
        raise RuntimeError(f"the simulator did not start; it ended with {self._simulator.wait()}")

    @property
    def watched(self) -> dict[str, int]:
        """The processes beside a contender's own whose work is for it."""
        assert self._simulator is not None
        postmaster = (self.folder / "server" / "postgres").resolve() / "data" / "postmaster.pid"
        return {
            "server": int(postmaster.read_text().splitlines()[0]),
            "simulator": self._simulator.pid,
        }

    def database(self, name: str) -> str:
        """The URL of a new, empty database."""
        with connect(self._server_url, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return f"{self._server_url.rpartition('/')[0]}/{name}"

    def drop(self, database_url: str) -> None:
        """Drop a database that nothing uses any more."""
        name = database_url.rpartition("/")[2]
        with connect(self._server_url, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    def settle(self) -> None:
        """Write to disk what the last contender left in memory: not at the next one's cost."""
        with connect(self._server_url, autocommit=True) as connection:
            connection.execute("CHECKPOINT")

    def warm(
        self, accounts: Sequence[str], first: dt.date, last: dt.date, api: ApiName = "callkeeper"
    ) -> None:
        """Have the simulator make its answers now: afterwards it serves them from memory."""
        for name in accounts:
            body = {"account": name, "from": str(first), "to": str(last), "api": api}
            self._control("warm", body)

    def delay(self, account: str, seconds: float) -> None:
        """Have the simulator wait so long before each answer to the account."""
        faults = [{"kind": "latency", "seconds": seconds}] if seconds else []
        self._control("faults", {"account": account, "faults": faults})

    def truth(self, account: str, first: dt.date, last: dt.date) -> tuple[int, int]:
        """How many calls the source has on these days, and the sum of their `duration2_sec`."""
        query = {"account": account, "from": str(first), "to": str(last), "calls": "0"}
        reported = self._control(f"truth?{urlencode(query)}", None)
        return int(reported["count"]), int(reported["sums"]["duration2_sec"])

    def _control(self, action: str, body: Mapping[str, object] | None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.api_url}/_simulator/{action}", data)
        with urllib.request.urlopen(request) as answer:
            reported: dict[str, Any] = json.load(answer)
            return reported
