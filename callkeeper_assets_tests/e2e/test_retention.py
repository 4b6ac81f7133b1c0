"""After retention nothing of an older call is anywhere: no table, no file, no record of Dagster.

An installation as a person has it, its commands as processes. A call is looked for by its client's
number, and every table's days and moments are looked at, so that a new place is not forgotten.
"""

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import pytest

from callkeeper_assets.simulator.account import SimulatedAccount
from callkeeper_assets.simulator.server import run_simulator
from callkeeper_assets.simulator.settings import AccountSettings
from callkeeper_assets.warehouse.schema import DATES, DIMENSIONS
from callkeeper_assets.webhooks.payload import Delivery
from callkeeper_assets.webhooks.spool import Spool
from callkeeper_assets_tests.chaos.installation import KEY, SOURCE, Installation
from callkeeper_assets_tests.e2e.secret_search import Searcher

_ZONE: Final = ZoneInfo("Europe/Moscow")
_KEEP_DAYS: Final = 3
_LOADED_DAYS: Final = 8
_REPORTS: Final = """\
  reports:
    - {name: plain, fields: [id, phone2]}
    - name: talks
      structure:
        - table: talks
          key: [call]
          columns: {call: {path: id, type: bigint}, phone: {path: phone2, type: text}}
    - name: unfit
      structure:
        - table: unfit
          key: [call]
          columns: {call: {path: id, type: bigint}, number: {path: phone2, type: date}}
"""
# What says when something was done, or how many rows a day had, and nothing of a call.
_BOOKS: Final = {
    ("callkeeper_loads", "day"),
    ("callkeeper_report_fields", "day"),
    # Of a call that is kept.
    ("callkeeper_calls", "first_visit_at"),
}
_MOMENTS: Final = """
    SELECT table_name, column_name FROM information_schema.columns
    JOIN information_schema.tables USING (table_schema, table_name)
    WHERE table_type = 'BASE TABLE' AND table_schema IN ('public', 'callkeeper_internal')
        AND data_type IN ('date', 'timestamp with time zone', 'timestamp without time zone')
"""


@dataclass(frozen=True)
class World:
    """An installation that has everything that retention has to find.

    Attributes:
        old: numbers of clients whose calls are all too old.
        kept: numbers of those who called later.
    """

    installation: Installation
    account: SimulatedAccount
    first: date
    first_kept: date
    old: set[str]
    kept: set[str]

    def retain(self, *arguments: str) -> dict[str, Any]:
        """Run `callkeeper retain`; return what `--json` prints."""
        ended = self.installation.run("retain", SOURCE, "--json", *arguments)
        assert ended.code == 0, ended
        return ended.document

    def find(self, numbers: set[str]) -> list[str]:
        """Name the tables and files that hold one of the numbers."""
        searcher = Searcher(number.lstrip("+") for number in numbers)
        return [
            *searcher.search_tables(self.installation),
            *searcher.search_files(self.installation.home),
        ]


def _phones(account: SimulatedAccount, first: date, last: date) -> set[str]:
    calls = account.truth(first, last, _ZONE.key).calls
    return {str(call["client_phone"]) for call in calls if call["client_phone"]}


def _webhook(call_id: int, at: datetime, phone: str) -> bytes:
    call = {
        "id": call_id,
        "hook_event": "Call is over",
        "date": f"{at:%Y-%m-%d %H:%M:%S}",
        "date_timestamp": int(at.timestamp()),
        "phone2": phone,
    }
    return json.dumps(call).encode()


def _receive(installation: Installation, body: bytes, at: datetime) -> None:
    installation.query(
        "INSERT INTO callkeeper_webhooks (account_id, received_at, format, body, digest, receipt) "
        "SELECT account_id, %s, 'json', %s, md5(%s), %s FROM general_accounts WHERE name = %s "
        "RETURNING id",
        at,
        body,
        body,
        uuid.uuid4(),
        SOURCE,
    )


def _configure(installation: Installation, base_url: str, retention: str = "") -> None:
    installation.add_source(base_url, webhook_token="some-token-0123456789")
    file = installation.defs / SOURCE / "defs.yaml"
    file.write_text(file.read_text() + _REPORTS + retention)


_RETENTION: Final = f"  retention: {{keep_days: {_KEEP_DAYS}}}\n"


@pytest.fixture
def world(installation: Installation) -> Iterator[World]:
    """Eight days, of which the first four are too old; loaded, broken, healed, told by webhooks."""
    today = datetime.now(_ZONE).date()
    first, first_kept = today - timedelta(days=_LOADED_DAYS), today - timedelta(days=_KEEP_DAYS)
    settings = AccountSettings(key=KEY, name=SOURCE, calls_per_day=12, rhythm="flat")
    with run_simulator([settings]) as simulator:
        _configure(installation, simulator.base_url)
        account = simulator.account(SOURCE)
        assert installation.load(first, today).code == 0
        installation.query(
            "UPDATE callkeeper_calls_facts SET attempt = attempt + 50 RETURNING calls_id"
        )
        period = ("--from", str(first), "--to", str(today - timedelta(days=1)))
        assert installation.run("reconcile", SOURCE, *period).code == 0
        for report in ("plain", "talks", "unfit"):
            assert installation.run("report", SOURCE, report, *period).code == 0
        old = {"+79995550101", "+79995550102", "+79995550103", "+79995550104"}
        reported, late, unread, spooled = sorted(old)
        long_ago = datetime.now(UTC) - timedelta(days=_KEEP_DAYS + 2)
        # Came while its day was young; came today; cannot be read; was left by a dead receiver.
        _receive(installation, _webhook(900_001, long_ago, reported), long_ago)
        _receive(installation, _webhook(900_002, long_ago, late), datetime.now(UTC))
        _receive(installation, f'{{"phone2": "{unread}", '.encode(), long_ago)
        now = datetime.now(UTC)
        _receive(installation, _webhook(900_003, now, "+79995550200"), now)
        assert installation.run("inbox", "--process").code == 0
        spool = Spool(installation.home / "spool")
        bodies = [(spooled, long_ago), ("+79995550201", datetime.now(UTC))]
        spool.append(
            [
                Delivery(
                    SOURCE, uuid.uuid4().bytes, at, "json", _webhook(1, at, phone), None, 1, None
                )
                for phone, at in bodies
            ]
        )
        spool.close()
        folder = installation.home / "raw" / SOURCE / str(first.year)
        half = folder / f".{first}.parquet.{uuid.uuid4().hex}"
        half.write_bytes((folder / f"{first}.parquet").read_bytes())
        (folder / f"{first}.parquet.refused").write_bytes(half.read_bytes())
        kept = _phones(account, first_kept, today) | {"+79995550200", "+79995550201"}
        old |= _phones(account, first, first_kept - timedelta(days=1)) - kept
        _configure(installation, simulator.base_url, _RETENTION)
        yield World(installation, account, first, first_kept, old, kept)


def test_nothing_older_is_left_anywhere_nor_comes_back_and_a_source_can_be_removed(
    world: World,
) -> None:
    _retain(world)
    _remove(world)


def _retain(world: World) -> None:
    installation = world.installation
    assert len(world.find(world.old)) >= 12
    counted = world.retain("--dry-run")
    assert len(world.find(world.old)) >= 12
    done = world.retain()
    assert done["places"] == counted["places"]
    assert done["first_kept_day"] == str(world.first_kept)
    assert set(done["places"]) >= {
        "talks",
        "callkeeper_calls_facts",
        "callkeeper_calls",
        "callkeeper_reports",
        "callkeeper_rejects",
        "callkeeper_report_days",
        "callkeeper_discrepancies",
        "callkeeper_days",
        "callkeeper_webhooks",
        "general_clientids",
        "general_dates",
        "raw calls, files",
        "spool, payloads",
        "Dagster's event log",
    }
    assert world.find(world.old) == []
    assert world.find(world.kept) != []
    _check_moments(world)
    _check_references(installation)
    logged = installation.query(
        "SELECT sum(rows_deleted)::int FROM callkeeper_loads WHERE origin = 'retention' "
        "AND table_name = 'callkeeper_calls'"
    )
    assert logged == [(done["places"]["callkeeper_calls"]["rows"],)]
    assert world.retain()["places"] == {}
    _try_to_bring_back(world)


def _check_moments(world: World) -> None:
    """No table may know a day or a moment before the first that is kept."""
    for table, column in world.installation.query(_MOMENTS):
        if (table, column) in _BOOKS:
            continue
        # The row for "unknown" says the first minute after 1970 began.
        known = "WHERE id <> 1" if table == "general_dates" else ""
        found = world.installation.query(f'SELECT min("{column}")::date FROM "{table}" {known}')
        oldest = found[0][0]
        assert oldest is None or oldest >= world.first_kept - timedelta(days=1), (table, column)


def _check_references(installation: Installation) -> None:
    """Facts find all their rows, and no row of a dimension is there for nobody."""
    columns = {one.table: one.fact_column for one in DIMENSIONS} | {DATES: "dates_id"}
    hours = " AND NOT (minute = 0 AND simple_date IN (SELECT day FROM callkeeper_days))"
    for table, column in columns.items():
        loaded = hours if table == DATES else ""
        assert installation.query(
            f"SELECT count(*) FROM callkeeper_calls_facts AS f LEFT JOIN {table} AS d "
            f"ON d.id = f.{column} WHERE d.id IS NULL"
        ) == [(0,)]
        assert installation.query(
            f"SELECT count(*) FROM {table} WHERE id <> 1 "
            f"AND id NOT IN (SELECT {column} FROM callkeeper_calls_facts){loaded}"
        ) == [(0,)], table
        assert installation.query(f"SELECT count(*) FROM {table} WHERE id = 1") == [(1,)]


def _try_to_bring_back(world: World) -> None:
    """Each way in which days are loaded leaves the deleted ones alone, or says why it does."""
    installation = world.installation
    first, last = str(world.first), str(world.first_kept - timedelta(days=1))
    refused = installation.run("load", SOURCE, "--from", first, "--to", last)
    assert refused.code == 2
    assert f"calls are kept for {_KEEP_DAYS} days (retention.keep_days)" in refused.stderr
    refused = installation.run("report", SOURCE, "talks", "--from", first, "--to", last)
    assert refused.code == 2
    assert "retention keeps" in refused.stderr
    long_ago = datetime.now(UTC) - timedelta(days=_KEEP_DAYS + 2)
    _receive(installation, _webhook(900_009, long_ago, "+79995550109"), datetime.now(UTC))
    for command in (("refresh", SOURCE), ("inbox", "--process")):
        assert installation.run(*command).code == 0, command
    period = ("--from", first, "--to", str(world.first_kept))
    assert installation.run("reconcile", SOURCE, *period).code == 0
    assert installation.query(
        "SELECT state, reason FROM callkeeper_webhooks WHERE call_id = 900009"
    ) == [("processed", "the call is older than what the source's retention keeps")]
    assert world.find(world.old) == []
    # The payload that told of it goes with the next retention, though it came today.
    assert list(world.retain()["places"]) == ["callkeeper_webhooks"]
    assert world.find({"+79995550109"}) == []


def _remove(world: World) -> None:
    """It leaves its calls, unless they are to go."""
    installation, everyone = world.installation, world.old | world.kept
    file = installation.defs / SOURCE / "defs.yaml"
    looked = installation.run("remove", SOURCE, "--with-calls", "--dry-run", "--json")
    assert looked.code == 0, looked.stderr
    unasked = installation.run("remove", SOURCE)
    assert (unasked.code, "there is no terminal to ask" in unasked.stderr) == (2, True)
    assert file.is_file()

    before = len(world.find(everyone))
    removed = installation.run("remove", SOURCE, "--yes", "--json").document
    kept = Path(removed["kept_in"])
    assert (file.parent.exists(), (kept / "defs.yaml").is_file()) == (False, True)
    assert removed["places"] == looked.document["places"]
    assert set(removed["variables"]) == {"MOSCOW_API_KEY", "MOSCOW_WEBHOOK_TOKEN"}
    assert len(world.find(everyone)) == before
    state = "SELECT enabled, interval_end IS NULL FROM general_accounts WHERE name = %s"
    assert installation.query(state, SOURCE) == [(False, False)]

    in_catalogue = (
        "SELECT count(*) > 0 FROM dagster.asset_keys WHERE wipe_timestamp IS NULL "
        "AND asset_key LIKE %s"
    )
    assert installation.query(in_catalogue, f'["{SOURCE}"%') == [(True,)], "as its calls do"
    cleared = installation.run("remove", SOURCE, "--with-calls", "--yes")
    assert cleared.code == 0, cleared.stderr
    for place in (
        "callkeeper_calls ",
        "talks ",
        "raw calls, files",
        "spool, payloads",
        "event log",
    ):
        assert place in cleared.stdout
    assert world.find(everyone) == []
    _check_references(installation)
    assert installation.query(in_catalogue, f'["{SOURCE}"%') == [(False,)]
    assert installation.query(state, SOURCE) == [(False, True)]
    assert installation.query("SELECT count(*) > 0 FROM callkeeper_loads") == [(True,)]
    again = installation.run("remove", SOURCE, "--with-calls", "--yes", "--json").document
    assert (again["folder"], again["places"]) == (None, {})

    kept.rename(file.parent)
    assert installation.load(world.first_kept, world.first_kept).code == 0
    assert installation.query(state, SOURCE) == [(True, False)]
    unknown = installation.run("remove", "moskow", "--with-calls")
    assert (unknown.code, "Did you mean 'moscow'?" in unknown.stderr) == (2, True)
