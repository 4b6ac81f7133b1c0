"""Settings that an administrator gave the role, times every command that writes: all is right.

Each command runs as a process, two reports side by side, a receiver with its webhooks. The short
form gives the role all settings at once, the long one each by itself, and an older server.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import psycopg
import pytest

from callkeeper_assets.postgres.locks import STORAGE_LOCK
from callkeeper_assets.simulator.server import RunningSimulator, run_simulator
from callkeeper_assets_tests.chaos.facts import describe_difference, read_days, tell_days
from callkeeper_assets_tests.chaos.installation import Ended, Installation
from callkeeper_assets_tests.e2e.clients import (
    FIRST,
    LAST,
    NATIONAL,
    WEBHOOK_CALL,
    build_payloads,
    configure,
    plant,
    send,
)
from callkeeper_assets_tests.e2e.secret_search import Searcher
from callkeeper_assets_tests.other_servers import serve
from callkeeper_assets_tests.postgres.administrator import SETTINGS, role_with
from callkeeper_assets_tests.privacy.writings import WRITINGS
from callkeeper_assets_tests.templates import Template

_SOURCE: Final = "office"
_ZONE: Final = ZoneInfo("Europe/Moscow")
_PERIOD: Final = ("--from", str(FIRST), "--to", str(LAST))
_REPORTS: Final = ("everything", "clients")
_FIRST_KEPT: Final = date(2026, 1, 11)
_SEARCHER: Final = Searcher(write(NATIONAL) for write in WRITINGS)

_WAITING: Final = """
    SELECT 1 FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database
    WHERE d.datname = current_database() AND l.locktype = 'advisory' AND NOT l.granted
"""
_WAIT_SEC: Final = 0.1
_PATIENCE_SEC: Final = 60.0


@dataclass
class World:
    """An installation whose role has settings; `owner` reads it with none.

    Attributes:
        problems: by step, what was wrong.
    """

    installation: Installation
    owner: Installation
    simulator: RunningSimulator
    ids: tuple[int, int, int]
    problems: dict[str, str] = field(default_factory=dict)

    def run(self, *arguments: str) -> Ended:
        """Run a command, which has to end well."""
        ended = self.installation.run(*arguments)
        assert ended.code == 0, f"{arguments}: {ended.stderr[-1500:]}{ended.stdout[-1500:]}"
        assert "Traceback" not in ended.stderr, ended.stderr[-1500:]
        return ended

    def check_calls(self) -> None:
        """The tables have what the source has."""
        account = self.simulator.simulator.accounts[0]
        expected = tell_days(account.truth(FIRST, LAST, _ZONE.key), FIRST, LAST, _ZONE)
        found = read_days(self.owner, FIRST, LAST, _ZONE, _SOURCE)
        assert describe_difference(found, expected) == ""

    def count(self, table: str) -> int:
        """Rows of a table."""
        [(number,)] = self.owner.query(f"SELECT count(*) FROM {table}")
        return int(number)


@pytest.fixture
def template() -> Template:
    """The role makes its own tables: it may not use those of another."""
    return Template.EMPTY


@contextmanager
def _lock_held_for_a_while(owner: Installation) -> Iterator[None]:
    """Hold what each command needs first, until one has waited longer than the role may."""

    def hold() -> None:
        with owner.connect() as connection:
            connection.execute("SELECT pg_advisory_lock(%s)", (STORAGE_LOCK,))
            is_held.set()
            deadline = time.monotonic() + _PATIENCE_SEC
            while time.monotonic() < deadline and not has_ended.is_set():
                found = connection.execute(_WAITING).fetchone()
                time.sleep(_WAIT_SEC)
                if found:
                    break

    is_held, has_ended = threading.Event(), threading.Event()
    with ThreadPoolExecutor() as pool:
        holding = pool.submit(hold)
        is_held.wait(_PATIENCE_SEC)
        try:
            yield
        finally:
            has_ended.set()
            holding.result()


def _check(world: World) -> None:
    world.run("check", _SOURCE)


def _load(world: World) -> None:
    with _lock_held_for_a_while(world.owner):
        world.run("load", _SOURCE, *_PERIOD)
    world.check_calls()


def _report(world: World) -> None:
    with ThreadPoolExecutor() as pool:
        for ended in pool.map(lambda name: world.run("report", _SOURCE, name, *_PERIOD), _REPORTS):
            assert ended.code == 0
    calls = world.count("callkeeper_calls")
    assert world.count("callkeeper_reports") == world.count("client_numbers") == calls


def _reconcile(world: World) -> None:
    world.owner.query("UPDATE callkeeper_calls_facts SET attempt = attempt + 50 RETURNING calls_id")
    world.run("reconcile", _SOURCE, *_PERIOD)
    world.check_calls()


def _webhooks(world: World) -> None:
    send(world.installation, build_payloads(world.ids)[:2], away=False)
    world.run("inbox", _SOURCE, "--process")
    reported = world.owner.query(
        "SELECT origin FROM callkeeper_calls WHERE call_id = %s", WEBHOOK_CALL
    )
    assert reported == [("webhook",)]


def _refresh(world: World) -> None:
    world.run("refresh", _SOURCE)


def _forget(world: World) -> None:
    assert list(_SEARCHER.search_tables(world.owner))
    world.run("forget", f"+7{NATIONAL}")
    assert list(_SEARCHER.search_tables(world.owner)) == []


def _retain(world: World) -> None:
    keep = (datetime.now(UTC).astimezone(_ZONE).date() - _FIRST_KEPT).days
    file = world.installation.defs / _SOURCE / "defs.yaml"
    file.write_text(f"{file.read_text()}  retention: {{keep_days: {keep}}}\n")
    before = world.count("callkeeper_calls")
    world.run("retain", _SOURCE)
    [(oldest, left)] = world.owner.query(
        "SELECT min((called_at AT TIME ZONE %s)::date), count(*) FROM callkeeper_calls", _ZONE.key
    )
    assert (oldest, left < before) == (_FIRST_KEPT, True)


def _status(world: World) -> None:
    world.run("status")


_STEPS: Final[Mapping[str, Callable[[World], None]]] = {
    "check": _check,
    "load": _load,
    "report": _report,
    "reconcile": _reconcile,
    "webhooks": _webhooks,
    "refresh": _refresh,
    "forget": _forget,
    "retain": _retain,
    "status": _status,
}


def _go_through(home: Path, database: str, settings: Mapping[str, str]) -> dict[str, str]:
    """Run every step as the role; return what was wrong, by step."""
    with run_simulator([]) as simulator, role_with(database, settings) as url:
        owner = Installation(home=home / "home", defs=home / "defs", database=database)
        installation = replace(owner, database=url)
        world = World(installation, owner, simulator, plant(simulator))
        configure(installation, simulator.base_url)
        for name, step in _STEPS.items():
            try:
                step(world)
            except (AssertionError, psycopg.Error) as error:
                world.problems[name] = str(error)[:2000]
    return world.problems


def test_no_setting_of_the_role_hurts_any_command(database: str, home: Path) -> None:
    assert _go_through(home, database, SETTINGS) == {}


@pytest.mark.parametrize("command", [("check", "--json"), ("load", _SOURCE, *_PERIOD)])
def test_a_role_that_may_only_read_is_refused_in_words(
    database: str, home: Path, command: tuple[str, ...]
) -> None:
    with (
        run_simulator([]) as simulator,
        role_with(database, {"default_transaction_read_only": "on"}) as url,
    ):
        installation = Installation(home=home / "home", defs=home / "defs", database=url)
        plant(simulator)
        configure(installation, simulator.base_url)
        ended = installation.run(*command)
    assert ended.code == 1
    assert "takes no writing: default_transaction_read_only is on" in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.chaos
@pytest.mark.parametrize("name", SETTINGS)
def test_no_setting_by_itself_hurts_any_command(database: str, home: Path, name: str) -> None:
    assert _go_through(home, database, {name: SETTINGS[name]}) == {}


@pytest.mark.chaos
@pytest.mark.parametrize("major", [15, 16])
def test_an_older_server_s_settings_hurt_no_command(home: Path, major: int) -> None:
    with serve(major, home / "server") as url:
        database = f"{url.rpartition('/')[0]}/calls"
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE DATABASE calls")
        assert _go_through(home, database, SETTINGS) == {}
