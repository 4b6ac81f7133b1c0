"""An installation as a person has it: a home, sources in files, commands as processes.

Its sources are accounts of a simulator in the test's own process, so that a test can change facts
and switch faults without going through HTTP.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Final

import psycopg

from callkeeper_assets.home import project_root
from callkeeper_assets.postgres import EmbeddedPostgres
from callkeeper_assets_tests.warm import WarmPopen

SOURCE: Final = "moscow"
KEY: Final = "0123456789abcdef0123456789abcdef"
_PATIENCE_SEC: Final = 60.0
# Of one command; the longest test hangs until the client's time-out, several times.
_LONGEST_SEC: Final = 600.0

_DEFS: Final = """\
type: callkeeper_assets.CallKeeperSource
attributes:
  caption: {name}
  api_key: {{env: {variable}}}
  base_url: {base_url}
  api: {api}
  time_zone: {time_zone}
  start_date: 2025-01-01
"""
_WEBHOOK: Final = "  webhook: {{token: {{env: {variable}}}}}\n"


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> dict[str, Any]:
        """What `--json` printed."""
        document: dict[str, Any] = json.loads(self.stdout)
        return document

    def changes(self, source: str = SOURCE) -> dict[str, tuple[int, int, int]]:
        """Rows that a load added, updated and deleted, by table."""
        reported = next(one for one in self.document["sources"] if one["source"] == source)
        return {
            name: (counts["added"], counts["updated"], counts["deleted"])
            for name, counts in reported["tables"].items()
        }


@dataclass(frozen=True)
class Installation:
    """A home with sources; `database` is a PostgreSQL's URL, empty for the embedded one."""

    home: Path
    defs: Path
    database: str
    variables: dict[str, str] = field(default_factory=dict)
    python: str = sys.executable

    @property
    def environment(self) -> Mapping[str, str]:
        """The commands' environment: nothing of the person who runs the tests gets into it."""
        ours = ("CALLKEEPER_", "DAGSTER_")
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith(ours)},
            "DAGSTER_HOME": str(project_root()),
            "CALLKEEPER_HOME": str(self.home),
            "CALLKEEPER_DEFS": str(self.defs),
            # Empty, not left out: a developer's .env must not fill it in.
            "CALLKEEPER_DATABASE_URL": self.database,
            "CALLKEEPER_RAW_URL": "",
            **self.variables,
        }

    def add_source(
        self,
        base_url: str,
        *,
        name: str = SOURCE,
        key: str | None = KEY,
        time_zone: str = "Europe/Moscow",
        webhook_token: str = "",
        api: str = "callkeeper",
    ) -> None:
        """Configure a source, or configure it anew; without a key its variable is not set.

        It takes webhooks if it is given a token for them.
        """
        variable = f"{name.upper()}_API_KEY"
        folder = self.defs / name
        folder.mkdir(parents=True, exist_ok=True)
        text = _DEFS.format(
            name=name, variable=variable, base_url=base_url, time_zone=time_zone, api=api
        )
        if webhook_token:
            text += _WEBHOOK.format(variable=f"{name.upper()}_WEBHOOK_TOKEN")
            self.variables[f"{name.upper()}_WEBHOOK_TOKEN"] = webhook_token
        (folder / "defs.yaml").write_text(text, encoding="utf-8")
        self.variables.pop(variable, None)
        if key is not None:
            self.variables[variable] = key

    def start(self, module: str, *arguments: str) -> subprocess.Popen[str]:
        """Start a Python module, as `callkeeper_assets.cli.main`, in a session of its own."""
        return WarmPopen(
            [self.python, "-m", module, *arguments],
            cwd=project_root(),
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str) -> Ended:
        """Run a command of `callkeeper` to its end."""
        process = self.start("callkeeper_assets.cli.main", *arguments)
        try:
            stdout, stderr = process.communicate(timeout=_LONGEST_SEC)
        except BaseException:
            process.terminate()
            process.communicate()
            raise
        return Ended(process.returncode, stdout, stderr)

    def load(self, first: date, last: date, *sources: str, force: bool = False) -> Ended:
        """Run `callkeeper load`; all days of the period, both ends included."""
        names = sources or (SOURCE,)
        extra = ["--force"] if force else []
        return self.run("load", *names, "--from", str(first), "--to", str(last), "--json", *extra)

    def start_worker(self, first: date, last: date, source: str = SOURCE) -> subprocess.Popen[str]:
        """Start the process of a load's run, as the command starts it."""
        return self.start(
            "callkeeper_assets.worker", source, "--from", str(first), "--to", str(last)
        )

    @contextmanager
    def connect(self) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
        """Connect to the database; every statement is a transaction of its own."""
        with (
            EmbeddedPostgres(self.home) if not self.database else nullcontext() as server,
            psycopg.connect(
                server.start() if server else self.database,
                autocommit=True,
                application_name="test",
            ) as connection,
        ):
            yield connection

    def query(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Run a query and return its rows."""
        with self.connect() as connection:
            return connection.execute(sql, values).fetchall()
