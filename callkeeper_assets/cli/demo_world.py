"""The demo's own little world: a home, two accounts of a simulated CallKeeper, an empty database.

All of it lies in `demo` in the installation's home, and nothing that is configured for real data is
used: neither the database, nor the sources, nor their keys.
"""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from callkeeper_assets.database.sql_files import read_sql_of
from callkeeper_assets.database.url import connect, database_url
from callkeeper_assets.home import home, project_root
from callkeeper_assets.simulator.account import Account
from callkeeper_assets.simulator.running import RunningSimulator, run_simulator
from callkeeper_assets.simulator.settings import AccountSettings

_FOR_REAL_DATA: Final = (
    "CALLKEEPER_DATABASE_URL",
    "CALLKEEPER_RAW_URL",
    "DAGSTER_PROJECT_ENV_FILE_PATHS",
)
_DEFS: Final = """\
type: callkeeper_assets.CallKeeperSource
attributes:
  caption: {caption}
  api_key: {{env: {variable}}}
  webhook: {{token: {{env: {token_variable}}}}}
  # The simulator, for as long as the demo runs.
  base_url: {base_url}
  time_zone: {time_zone}
  start_date: {first}
"""
# Within the overlap that a refresh reads again.
_DAYS_BACK: Final = (1, 2)
# Calls of a day whose rows are broken, for reconciliation to find.
_BROKEN: Final = 4


@dataclass(frozen=True)
class DemoSource:
    """One of the demo's sources; `share` is of the calls a day that were asked for."""

    name: str
    caption: str
    time_zone: str
    seed: int
    share: float

    @property
    def variable(self) -> str:
        """The environment variable of its key."""
        return f"{self.name.upper()}_API_KEY"

    @property
    def token_variable(self) -> str:
        """The environment variable of its webhooks' token."""
        return f"{self.name.upper()}_WEBHOOK_TOKEN"


SOURCES: Final = (
    DemoSource("moscow_office", "Офис в Москве", "Europe/Moscow", 11, 1.0),
    DemoSource("yekaterinburg_clinic", "Клиника в Екатеринбурге", "Asia/Yekaterinburg", 12, 0.7),
)


@dataclass(frozen=True)
class Period:
    """Days of the demo, both included: they have begun in each source's time zone."""

    first: date
    last: date


@dataclass(frozen=True)
class Touched:
    """Calls of one account that the simulator changed afterwards."""

    source: str
    changed: int
    added: int
    removed: int


def enter_home() -> None:
    """Let this process and its children live in the demo's home from now on."""
    for name in _FOR_REAL_DATA:
        os.environ.pop(name, None)
    os.environ["CALLKEEPER_HOME"] = str(home() / "demo")
    os.environ["CALLKEEPER_DEFS"] = str(home() / "defs")
    os.environ["DAGSTER_HOME"] = str(project_root())
    for source in SOURCES:
        os.environ[source.variable] = secrets.token_hex(16)
        os.environ[source.token_variable] = secrets.token_urlsafe(24)


def choose_period(days: int) -> Period:
    """Return so many days up to today."""
    last = min(datetime.now(ZoneInfo(source.time_zone)).date() for source in SOURCES)
    return Period(last - timedelta(days=days - 1), last)


@contextmanager
def run_demo_simulator(calls_per_day: int, period: Period) -> Iterator[RunningSimulator]:
    """Simulate the accounts; the clock stands, so that only what is told changes."""
    accounts = [
        AccountSettings(
            key=os.environ[source.variable],
            name=source.name,
            time_zone=source.time_zone,
            calls_per_day=max(1, round(calls_per_day * source.share)),
            seed=source.seed,
            first_day=period.first,
        )
        for source in SOURCES
    ]
    with run_simulator(accounts, now=datetime.now(UTC)) as simulator:
        yield simulator


def write_sources(base_url: str, period: Period) -> None:
    """Write the sources' `defs.yaml`."""
    for source in SOURCES:
        folder = home() / "defs" / source.name
        folder.mkdir(parents=True, exist_ok=True)
        text = _DEFS.format(
            caption=source.caption,
            variable=source.variable,
            token_variable=source.token_variable,
            base_url=base_url,
            time_zone=source.time_zone,
            first=period.first,
        )
        (folder / "defs.yaml").write_text(text, encoding="utf-8")


def begin_afresh() -> bool:
    """Remove what an earlier demo left; return whether there was any.

    The data folder stays, as it takes seconds to make; the database in it is made anew.

    Raises:
        DatabaseError: The embedded database does not start.
    """
    was_there = (home() / "defs").exists()
    for name in ("raw", "defs", "logs"):
        shutil.rmtree(home() / name, ignore_errors=True)
    url = database_url()
    if was_there:
        server, _, name = url.rpartition("/")
        with connect(f"{server}/postgres", autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())
            connection.execute(f"CREATE DATABASE {name}".encode())
    return was_there


def touch_calls(account: Account, last: date) -> Touched:
    """Change, add and remove a few calls of yesterday and the day before."""
    changed = added = removed = 0
    for back in _DAYS_BACK:
        day = last - timedelta(days=back)
        if day < account.settings.first_day:
            continue
        few = account.truth(day, day, has_calls=False).count // 10
        # In this order no call is touched twice.
        removed += len(account.remove(day, min(1, few)))
        changed += len({each.call_id for each in account.change(day, few)})
        added += len(account.add(day, 2))
    return Touched(account.settings.name, changed, added, removed)


def break_rows(source: str, day: date) -> int:
    """Change and delete a few of a source's rows behind the loader's back; return how many calls.

    Raises:
        DatabaseError: The database cannot be reached.
    """
    read_sql = read_sql_of("callkeeper_assets.cli")
    with connect() as connection:
        found = connection.execute(
            read_sql("demo_calls_of_day"),
            {"source": source, "day": day, "count": _BROKEN},
        ).fetchall()
        for position, (account_id, call) in enumerate(found):
            action = "delete" if position % 2 else "change"
            connection.execute(
                read_sql(f"demo_{action}_call"), {"account_id": account_id, "id": call}
            )
    return len(found)
