"""An installation with one source, and a clock that tests set."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from callkeeper_assets.postgres import connect
from callkeeper_assets.warehouse.accounts import make_account
from callkeeper_assets.warehouse.records import Account
from callkeeper_assets_tests.alerts.receivers import HttpReceiver, run_receiver
from callkeeper_assets_tests.templates import Template

KEY = "0123456789abcdef0123456789abcdef"
ZONE = "Europe/Moscow"
ACCOUNT = Account(name="main_office", caption="Main office", time_zone=ZoneInfo(ZONE))


@pytest.fixture(scope="session")
def template() -> Template:
    """Runs and checks are Dagster's."""
    return Template.INSTALLATION


@dataclass
class Clock:
    """Tells the time that a test sets."""

    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __call__(self) -> datetime:
        return self.now

    def go_on(self, **parts: float) -> None:
        """Let time pass."""
        self.now += timedelta(**parts)


@pytest.fixture
def clock() -> Clock:
    """A clock that begins now."""
    return Clock()


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    """A receiver that takes what it is sent."""
    with run_receiver() as running:
        yield running


def write_source(folder: Path, name: str, *lines: str) -> Path:
    """Write a source whose key is in the variable `<NAME>_API_KEY`; CallKeeper is not there."""
    file = folder / name / "defs.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    attributes = (
        f"api_key: {{env: {name.upper()}_API_KEY}}",
        "base_url: http://127.0.0.1:9",
        f"time_zone: {ZONE}",
        *lines,
    )
    text = "\n".join(f"  {line}" for line in attributes)
    file.write_text(f"type: callkeeper_assets.CallKeeperSource\nattributes:\n{text}\n")
    return file


def know_key(database: str, name: str = "main_office") -> None:
    """Note that a source's key was asked after today: CallKeeper is waited for by other tests."""
    with connect(database) as connection:
        make_account(connection, name)
        connection.execute(
            "INSERT INTO callkeeper_keys (account_id, checked_at) "
            "SELECT account_id, now() FROM general_accounts WHERE name = %s",
            (name,),
        )


@pytest.fixture
def defs(home: Path, database: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of sources, with `main_office`; the database is in force."""
    assert database
    folder = home / "defs"
    monkeypatch.setenv("CALLKEEPER_DEFS", str(folder))
    monkeypatch.setenv("MAIN_OFFICE_API_KEY", KEY)
    write_source(folder, "main_office")
    return folder
