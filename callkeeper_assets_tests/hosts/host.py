"""A Dagster project of somebody else's, in a folder of its own, run by Dagster's own programs.

Its own parts are a day's headcount and what is made from our calls; they write down what they were
given, and by which process.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Final

import dagster as dg
import psycopg
import pytest

from callkeeper_assets_tests.cli.conftest import days_ago

DAY: Final = days_ago(2)
CALLS_PER_DAY: Final = 7
SOURCES: Final = ("main_office", "shop")
# Assets of a project's own: one by days, one that is made from a table of ours.
OWN_ASSETS: Final = """\
import json, os
import dagster as dg

DAYS = dg.DailyPartitionsDefinition("{start}", timezone="Europe/Moscow", end_offset=1)

def note(name, **said):
    with open(os.environ["HOST_NOTES"], "a") as file:
        file.write(json.dumps({{"asset": name, "process": os.getpid(), **said}}) + "\\n")

@dg.asset(partitions_def=DAYS)
def headcount(context):
    note("headcount", day=context.partition_key)
    return 12

@dg.asset(partitions_def=DAYS, deps=[dg.AssetKey({key})])
def calls_a_head(context, headcount):
    note("calls_a_head", headcount=headcount)
    return 1
"""


@dataclass(frozen=True)
class Host:
    """A project in a folder, with a database for our warehouse.

    Attributes:
        folder: its root, and its DAGSTER_HOME.
        warehouse: the URL of our tables' database.
        variables: what its owner has set besides.
        programs: the folder of its environment's.
    """

    folder: Path
    warehouse: str
    variables: Mapping[str, str] = field(default_factory=dict)
    programs: Path = Path(sys.executable).parent

    @property
    def environment(self) -> dict[str, str]:
        """Nothing of who runs the tests gets into it."""
        return {
            "PATH": f"{self.programs}:/usr/bin:/bin",
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
            "DAGSTER_HOME": str(self.folder),
            "CALLKEEPER_DATABASE_URL": self.warehouse,
            "CALLKEEPER_HOME": str(self.folder / ".callkeeper"),
            "HOST_NOTES": str(self.folder / "notes"),
            # dg and Dagster's other programs draw tables as wide as this.
            "COLUMNS": "200",
            **self.variables,
        }

    def write(self, name: str, text: str) -> Path:
        """Write a file of the project."""
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
        return file

    def run(self, *arguments: str) -> tuple[str, str]:
        """Run a program in the folder; return what it printed, and what as errors."""
        done = subprocess.run(
            self._find(*arguments),
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-8000:]
        return done.stdout, done.stderr

    def _find(self, program: str, *arguments: str) -> list[str]:
        """Name a program by its path; one that its environment has of another, by its module."""
        path = self.programs / program
        if path.exists():
            return [str(path), *arguments]
        return [str(self.programs / "python"), "-m", program, *arguments]

    @contextmanager
    def instance(self) -> Iterator[dg.DagsterInstance]:
        """Open its instance, as its programs do."""
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("DAGSTER_HOME", str(self.folder))
            with dg.DagsterInstance.get() as instance:
                yield instance

    @property
    def notes(self) -> list[dict[str, Any]]:
        """What its own assets wrote down."""
        lines = (self.folder / "notes").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def count(self, table: str) -> dict[str, int]:
        """Return how many rows each source has in one of our tables."""
        return self.ask(
            f"SELECT accounts.name, count(*) FROM {table} "
            "JOIN general_accounts AS accounts USING (account_id) GROUP BY 1"
        )

    def ask(self, query: str) -> dict[str, int]:
        """Return the answer of a query for a name and a number."""
        with psycopg.connect(self.warehouse) as connection:
            return dict(connection.execute(query.encode()).fetchall())


@dataclass(frozen=True)
class Told:
    """What an instance has of its newest run.

    Attributes:
        checks: by asset and check, whether it passed, of the day.
        days: by asset, the days that are materialized; a whole asset has none.
        events: how many of each kind.
    """

    run: dg.DagsterRun
    checks: Mapping[tuple[str, str], bool]
    days: Mapping[str, Sequence[str]]
    events: Mapping[str, int]


def read_newest_run(instance: dg.DagsterInstance) -> Told:
    """Read all that an instance has of its newest run."""
    run = instance.get_runs(limit=1)[0]
    checks, days = {}, {}
    events: dict[str, int] = {}
    for entry in instance.all_logs(run.run_id):
        event = entry.dagster_event
        if event is None:
            continue
        events[event.event_type_value] = events.get(event.event_type_value, 0) + 1
        if event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            data = event.asset_check_evaluation_data
            checks[data.asset_key.to_user_string(), data.check_name] = data.passed
        if event.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION:
            assert event.asset_key is not None
            days[event.asset_key.to_user_string()] = sorted(
                instance.get_materialized_partitions(event.asset_key)
            )
    return Told(run, checks, days, events)


def first_day() -> str:
    """The first day of the sources, and of the project's own assets."""
    return date.fromisoformat(DAY).replace(day=1).isoformat()


def attributes_of(name: str, base_url: str) -> dict[str, Any]:
    """Return a source's attributes."""
    return {
        "api_key": {"env": f"{name.upper()}_KEY"},
        "base_url": base_url,
        "start_date": first_day(),
    }


def make_folder(name: str) -> Path:
    """Make a project's folder."""
    folder = Path(os.environ["CALLKEEPER_TESTS_FOLDER"]) / name
    folder.mkdir()
    return folder
