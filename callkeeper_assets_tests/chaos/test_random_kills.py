"""Kill -9 at random moments, round after round: of the run, its command, the database's server.

After each round every day is whole, and the next load brings what the source has.
"""

import os
import random
import signal
import subprocess
import time
from typing import Final, Literal

import pytest

from callkeeper_assets.simulator.server import RunningSimulator
from callkeeper_assets_tests.chaos.facts import describe_difference, read_days
from callkeeper_assets_tests.chaos.holds import wait_for_servers_end_of_it
from callkeeper_assets_tests.chaos.installation import SOURCE, Installation
from callkeeper_assets_tests.chaos.rounds import DAYS, FIRST, LAST, ZONE, Round, begin_round

Victim = Literal["run", "command", "server"]

_ROUNDS: Final = 20
_MOMENT_SEC: Final = 20.0
_LOAD: Final = ("load", SOURCE, "--from", str(FIRST), "--to", str(LAST))


def _server_of(installation: Installation) -> int:
    folder = (installation.home / "postgres").resolve() / "data"
    return int((folder / "postmaster.pid").read_text().splitlines()[0])


def _hurt(installation: Installation, victim: Victim, delay_sec: float) -> None:
    process = (
        installation.start_worker(FIRST, LAST)
        if victim == "run"
        else installation.start("callkeeper_assets.cli.main", *_LOAD, is_warm=False)
    )
    try:
        process.wait(delay_sec)
    except subprocess.TimeoutExpired:
        if victim == "server":
            os.kill(_server_of(installation), signal.SIGKILL)
        else:
            process.kill()
    _, stderr = process.communicate(timeout=120)
    # A run outlives its command for a moment, and no longer.
    wait_for_servers_end_of_it(installation, seconds=_MOMENT_SEC)
    assert "Traceback" not in stderr, stderr


def _check_days(round_: Round) -> int:
    found = read_days(round_.installation, FIRST, LAST, ZONE)
    changed = [day for day in DAYS if found[day] == round_.new[day]]
    expected = {day: (round_.new if day in changed else round_.old)[day] for day in DAYS}
    assert describe_difference(found, expected) == ""
    # What is new has been logged, by somebody.
    logged = round_.installation.query(
        "SELECT DISTINCT day FROM callkeeper_loads WHERE rows_added = 1 AND rows_updated = 2 "
        "AND table_name = 'callkeeper_calls_facts' AND finished_at >= %s",
        round_.began,
    )
    assert {day for (day,) in logged} == set(changed)
    return len(changed)


def _check_nothing_is_held(installation: Installation) -> None:
    for table, condition in (
        ("runs", "status IN ('STARTED', 'STARTING', 'CANCELING')"),
        ("concurrency_slots", "run_id IS NOT NULL"),
        ("pending_steps", "run_id IS NOT NULL"),
    ):
        held = installation.query(f"SELECT count(*) FROM dagster.{table} WHERE {condition}")
        assert held == [(0,)], table


@pytest.mark.chaos
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("victim", ["run", "command", "server"])
def test_any_moment_of_death_leaves_whole_days_and_the_next_load_mends(
    installation: Installation, simulator: RunningSimulator, victim: Victim
) -> None:
    rng = random.Random(f"chaos of {victim}, 2")  # noqa: S311 - not a secret
    made = Installation(
        home=installation.home.parent / f"random-{victim}",
        defs=installation.defs,
        database="",
        variables=installation.variables,
    )
    # The first load makes the database: no measure of the next ones.
    assert made.load(FIRST, LAST).code == 0
    begin_round(made, simulator)
    started = time.monotonic()
    assert made.load(FIRST, LAST).code == 0
    longest_sec = time.monotonic() - started
    reached = set()
    for _ in range(_ROUNDS):
        round_ = begin_round(made, simulator)
        _hurt(made, victim, rng.uniform(0, longest_sec))
        reached.add(_check_days(round_))
        round_.mend()
        _check_nothing_is_held(made)
    # The moments were such that some loads had come to nothing and some to an end.
    assert {0, len(DAYS)} <= reached, reached
