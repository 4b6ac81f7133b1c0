"""A round of chaos: facts change, a load of them is hurt, all is whole, the next load mends it."""

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from callkeeper_assets.raw.store import RawStore
from callkeeper_assets.simulator.server import RunningSimulator
from callkeeper_assets_tests.chaos.facts import Days, describe_difference, read_days, tell_days
from callkeeper_assets_tests.chaos.installation import SOURCE, Ended, Installation
from callkeeper_assets_tests.raw.stored import stored_ids

ZONE: Final = ZoneInfo("Europe/Moscow")
# More than the days of one transaction, so that a load commits twice.
FIRST, LAST = date(2026, 1, 1), date(2026, 2, 2)
DAYS: Final = [FIRST + timedelta(days=n) for n in range((LAST - FIRST).days + 1)]

_LOGGED: Final = """
    SELECT day, count(*) FROM callkeeper_loads
    WHERE run_id = %s AND error IS NULL AND table_name = 'callkeeper_calls_facts' GROUP BY day
"""
_REMEMBERED: Final = """
    SELECT d.day, d.raw_calls FROM callkeeper_days AS d JOIN general_accounts AS a
    USING (account_id) WHERE a.name = %s
"""


@dataclass(frozen=True)
class Round:
    """The facts before a change and after it; the warehouse holds the old ones."""

    installation: Installation
    simulator: RunningSimulator
    old: Days
    new: Days
    began: datetime

    def find_changed_days(self, run_id: str) -> set[date]:
        """Check that every day is old or new, whole, and return the new ones.

        A new day must be in the tables, in their log and in the loader's memory of days; an old one
        in none of them.
        """
        found = read_days(self.installation, FIRST, LAST, ZONE)
        changed = {day for day in DAYS if found[day] == self.new[day]}
        expected = {day: self.new[day] if day in changed else self.old[day] for day in DAYS}
        assert describe_difference(found, expected) == ""
        logged = dict(self.installation.query(_LOGGED, run_id))
        assert logged == dict.fromkeys(changed, 1)
        remembered = dict(self.installation.query(_REMEMBERED, SOURCE))
        assert remembered == {day: len(expected[day]) for day in DAYS}
        self._check_raw_calls()
        return changed

    def _check_raw_calls(self) -> None:
        store = RawStore(str(self.installation.home / "raw"))
        for day in DAYS:
            ids = stored_ids(store, SOURCE, day)
            assert ids in (self.old[day].keys(), self.new[day].keys()), day

    def mend(self) -> Ended:
        """Load once more, as a person or a schedule does; all must be as the source has it."""
        ended = self.installation.load(FIRST, LAST)
        assert ended.code == 0, ended
        found = read_days(self.installation, FIRST, LAST, ZONE)
        assert describe_difference(found, self.new) == ""
        return ended

    def check_marked_as_failed(self, run_id: str) -> None:
        """A dead run must be known as failed and hold nothing."""
        assert self.installation.query(
            "SELECT status FROM dagster.runs WHERE run_id = %s", run_id
        ) == [("FAILURE",)]
        for table in ("concurrency_slots", "pending_steps"):
            held = self.installation.query(
                f"SELECT count(*) FROM dagster.{table} WHERE run_id = %s", run_id
            )
            assert held == [(0,)], table
        assert self.installation.query(
            "SELECT count(*) FROM dagster.runs WHERE status IN ('STARTED', 'STARTING')"
        ) == [(0,)]


def tell(simulator: RunningSimulator) -> Days:
    """What the source has of the rounds' days."""
    account = simulator.account(SOURCE)
    return tell_days(account.truth(FIRST, LAST, ZONE.key), FIRST, LAST, ZONE)


def begin_round(installation: Installation, simulator: RunningSimulator) -> Round:
    """Change facts of every day: two calls change, one comes, one goes."""
    account = simulator.account(SOURCE)
    old = tell(simulator)
    for day in DAYS:
        first, second, third, *_ = old[day]
        account.change(day, call_ids=[first, second], column="duration_sec")
        account.remove(day, call_ids=[third])
        account.add(day, 1)
    return Round(installation, simulator, old, tell(simulator), datetime.now(UTC))


def kill(worker: "subprocess.Popen[str]") -> str:
    """Kill a load's process, and return the run that it had told of; empty if it had not yet."""
    worker.kill()
    stdout, stderr = worker.communicate(timeout=60)
    assert "Traceback" not in stderr, stderr
    for line in stdout.splitlines():
        message: Mapping[str, str] = json.loads(line)
        if message["type"] == "Started":
            return message["run_id"]
    return ""
