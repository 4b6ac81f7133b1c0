"""Kill -9 of a report's run at each of its steps: its days stay as they were, the next run mends.

The report's days hold the old definition or the new one, never a mixture: tables, rejects and books
change together.
"""

from typing import Any, Final

import pytest

from callkeeper_assets.simulator.server import RunningSimulator
from callkeeper_assets_tests.chaos.holds import hold, wait_for_servers_end_of_it
from callkeeper_assets_tests.chaos.installation import SOURCE, Installation
from callkeeper_assets_tests.chaos.rounds import DAYS, FIRST, LAST, kill
from callkeeper_assets_tests.extent import one_of

# Of each table: its days, and what it holds of each.
State = list[dict[Any, tuple[Any, ...]]]

# Days of one transaction: the loading's own measure.
_FIRST_BATCH: Final = 31

_REPORT: Final = """\
  reports:
    - name: talks
      structure:
        - table: talks
          key: [call_id]
          columns:
            call_id: {{path: id, type: bigint}}
            value: {{path: {path}, type: text}}
        - table: odd
          key: [call_id]
          columns:
            call_id: {{path: id, type: bigint}}
            number: {{path: {path}, type: integer}}
"""
_WAITS: Final = {
    "compares and deletes": "LOCK TABLE talks IN ACCESS EXCLUSIVE MODE",
    "writes its second table": "LOCK TABLE odd IN EXCLUSIVE MODE",
    "writes rejects": "LOCK TABLE callkeeper_rejects IN EXCLUSIVE MODE",
    "notes its days": "LOCK TABLE callkeeper_report_days IN EXCLUSIVE MODE",
    "has written all and not logged": "LOCK TABLE callkeeper_loads IN EXCLUSIVE MODE",
}
# The others are the long form.
_LAST_STEP: Final = "has written all and not logged"
_STATE: Final = (
    (
        "SELECT callkeeper_day, count(*), md5(string_agg(t::text, '|' ORDER BY call_id)) "
        "FROM talks AS t GROUP BY 1"
    ),
    (
        "SELECT callkeeper_day, count(*), md5(string_agg(t::text, '|' ORDER BY call_id)) "
        "FROM odd AS t GROUP BY 1"
    ),
    (
        "SELECT day, count(*), md5(string_agg(value, '|' ORDER BY call_id)) "
        "FROM callkeeper_rejects GROUP BY 1"
    ),
    "SELECT day, definition, calls FROM callkeeper_report_days",
)
_ARGUMENTS: Final = (SOURCE, "--report", "talks", "--from", str(FIRST), "--to", str(LAST))
# Texts and numbers, so that each definition has its own rejects.
_OLD, _NEW = "status_reason", "duration2_sec"


def define(installation: Installation, path: str) -> None:
    """Give the source the report, whose values are found at the path."""
    file = installation.defs / SOURCE / "defs.yaml"
    head = file.read_text("utf-8").partition("  reports:\n")[0]
    file.write_text(head + _REPORT.format(path=path), encoding="utf-8")


def build(installation: Installation) -> None:
    ended = installation.run(
        "report", SOURCE, "talks", "--from", str(FIRST), "--to", str(LAST), "--json"
    )
    assert ended.code == 0, ended


def read(installation: Installation) -> State:
    """What the tables and books hold of each day, a dictionary a table."""
    return [{day: tuple(rest) for day, *rest in installation.query(query)} for query in _STATE]


@pytest.fixture(scope="module")
def states(installation: Installation, simulator: RunningSimulator) -> tuple[State, State]:
    """What clean runs of both definitions come to; all days' raw calls are there afterwards."""
    assert simulator.base_url
    assert installation.load(FIRST, LAST).code == 0
    found = []
    for path in (_NEW, _OLD):
        define(installation, path)
        build(installation)
        found.append(read(installation))
    return found[1], found[0]


@pytest.fixture
def built(installation: Installation, states: object) -> Installation:
    """The installation with the old definition built, and the new one configured."""
    assert states
    define(installation, _OLD)
    build(installation)
    define(installation, _NEW)
    return installation


@pytest.mark.parametrize("step", one_of(_WAITS, _LAST_STEP))
def test_a_report_killed_when_it(
    step: str,
    built: Installation,
    states: tuple[State, State],
) -> None:
    old, new = states
    assert old != new
    with hold(built, _WAITS[step]) as held:
        worker = built.start("callkeeper_assets.worker", *_ARGUMENTS)
        held.wait_for_somebody()
        run_id = kill(worker)
    wait_for_servers_end_of_it(built)
    assert read(built) == old
    assert built.query("SELECT count(*) FROM callkeeper_loads WHERE run_id = %s", run_id) == [(0,)]
    build(built)
    assert read(built) == new
    assert built.query("SELECT status FROM dagster.runs WHERE run_id = %s", run_id) == [
        ("FAILURE",)
    ]


@pytest.mark.chaos
def test_a_report_killed_between_two_transactions_keeps_the_first(
    built: Installation,
    states: tuple[State, State],
) -> None:
    old, new = states
    row = f"SELECT 1 FROM callkeeper_report_days WHERE day = '{DAYS[_FIRST_BATCH]}' FOR UPDATE"
    with hold(built, row) as held:
        worker = built.start("callkeeper_assets.worker", *_ARGUMENTS)
        held.wait_for_somebody()
        kill(worker)
    wait_for_servers_end_of_it(built)
    first = set(DAYS[:_FIRST_BATCH])
    for found, before, after in zip(read(built), old, new, strict=True):
        mixed = {day: (after if day in first else before).get(day) for day in DAYS}
        assert {day: found.get(day) for day in DAYS} == mixed
    build(built)
    assert read(built) == new
