"""An installation with everything that can be lost, in a project of its own."""

import json
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest

from callkeeper_assets.simulator.server import RunningSimulator, run_simulator
from callkeeper_assets.simulator.settings import AccountSettings
from callkeeper_assets.webhooks.payload import Delivery
from callkeeper_assets.webhooks.spool import Spool, read_spooled
from callkeeper_assets_tests.chaos.installation import KEY, SOURCE, Installation
from callkeeper_assets_tests.contents import read_all
from callkeeper_assets_tests.templates import MakeDatabase, Template

FIRST, LAST, NEXT = date(2026, 1, 10), date(2026, 1, 12), date(2026, 1, 13)
_TOKEN: Final = "some-token-0123456789"
_REPORT: Final = """\
  reports:
    - name: talks
      structure:
        - table: talks
          key: [call]
          columns: {call: {path: id, type: bigint}, phone: {path: phone2, type: text}}
"""
_RECEIVED: Final = """
    INSERT INTO callkeeper_webhooks (account_id, received_at, format, body, digest, receipt, event)
    SELECT account_id, now(), 'json', %s, md5(%s), %s, 'Call is over' FROM general_accounts
"""
# What only CallKeeper's other API tells of.
_AUDITED: Final = """
    INSERT INTO callkeeper_webhook_days (account_id, day, sent, lost, refused, audited_at, run_id)
    SELECT account_id, %s, 3, 1, 0, now(), 'run' FROM general_accounts
"""


@dataclass(frozen=True)
class World:
    """The installation; `backups` is where its backups lie, `phone` of whom it has forgotten."""

    installation: Installation
    backups: Path
    phone: str

    @property
    def project(self) -> Path:
        """Its project's folder."""
        return self.installation.defs.parent

    def read(self) -> dict[str, Any]:
        """Return all that the database, raw calls and the spool hold."""
        with self.installation.connect() as connection:
            content = read_all(connection)
        raw = self.installation.home / "raw"
        content["raw"] = {
            str(file.relative_to(raw)): file.read_bytes()
            for file in sorted(raw.rglob("*"))
            if file.is_file()
        }
        spooled = read_spooled(self.installation.home / "spool")
        content["spool"] = sorted(one.receipt for one in spooled)
        content["project"] = {
            str(file.relative_to(self.project)): file.read_bytes()
            for file in sorted(self.project.rglob("*"))
            if file.is_file() and file.name != ".env" and "__pycache__" not in file.parts
        }
        return content

    def elsewhere(self, database: str = "") -> "World":
        """Return another machine, on which nothing is yet."""
        folder = Path(os.environ["CALLKEEPER_TESTS_FOLDER"]) / uuid.uuid4().hex
        made = build_installation(folder, database)
        made.variables.update(
            {name: value for name, value in self.installation.variables.items() if "_" in name}
            | _own(folder)
        )
        return replace(self, installation=made)


def _own(folder: Path) -> dict[str, str]:
    project = folder / "project"
    return {
        "CALLKEEPER_PROJECT": str(project),
        "DAGSTER_HOME": str(project),
        # The project's own sources.
        "CALLKEEPER_DEFS": "",
    }


def build_installation(folder: Path, database: str = "") -> Installation:
    """Return an installation with a project of its own, of which nothing is there yet."""
    project = folder / "project"
    project.mkdir(parents=True)
    made = Installation(home=folder / "home", defs=project / "defs", database=database)
    made.variables.update(_own(folder))
    return made


def deliver(call_id: int, phone: str = "+79995550101") -> Delivery:
    """Return a webhook's payload."""
    now = datetime.now(UTC)
    call = {"id": call_id, "date_timestamp": int(now.timestamp()), "phone2": phone}
    body = json.dumps(call).encode()
    return Delivery(SOURCE, uuid.uuid4().bytes, now, "json", body, "Call is over", call_id, None)


@pytest.fixture(scope="module")
def simulator() -> Iterator[RunningSimulator]:
    """CallKeeper with one account."""
    account = AccountSettings(key=KEY, name=SOURCE, calls_per_day=12, rhythm="flat")
    with run_simulator([account]) as running:
        yield running


@pytest.fixture(scope="module")
def world(simulator: RunningSimulator, make_database: MakeDatabase) -> Iterator[World]:
    """Loaded, reported; webhooks processed, waiting, spooled; a client forgotten."""
    folder = Path(os.environ["CALLKEEPER_TESTS_FOLDER"]) / uuid.uuid4().hex
    with make_database(Template.INSTALLATION) as url:
        installation = build_installation(folder, url)
        phone = _do_everything(installation, simulator.base_url)
        yield World(installation, folder / "backups", phone)


def _do_everything(installation: Installation, base_url: str) -> str:
    """Do what leaves something to be lost; return the number of who was forgotten."""
    assert installation.run("init", str(installation.defs.parent)).code == 0
    installation.add_source(base_url, webhook_token=_TOKEN)
    file = installation.defs / SOURCE / "defs.yaml"
    file.write_text(file.read_text() + _REPORT)
    period = ("--from", str(FIRST), "--to", str(LAST))
    assert installation.load(FIRST, LAST).code == 0
    assert installation.run("report", SOURCE, "talks", *period).code == 0
    with installation.connect() as connection:
        connection.execute("CREATE VIEW for_bi AS SELECT call, phone FROM talks")
        connection.execute(_AUDITED, (FIRST,))
        _receive(connection, 900_001)
    assert installation.run("inbox", "--process").code == 0
    ((phone,),) = installation.query("SELECT phone FROM talks WHERE phone <> '' LIMIT 1")
    assert installation.run("forget", phone, "--reference", "a letter").code == 0
    with installation.connect() as connection:
        _receive(connection, 900_002)
    spool = Spool(installation.home / "spool")
    spool.append([deliver(900_003)])
    spool.close()
    return str(phone)


def _receive(connection: psycopg.Connection[tuple[Any, ...]], call_id: int) -> None:
    body = deliver(call_id).body
    connection.execute(_RECEIVED, (body, body, uuid.uuid4()))
