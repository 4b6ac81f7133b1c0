"""Kill -9 of the embedded PostgreSQL in the middle of a load: the next command starts it again."""

from typing import Final

import pytest

from callkeeper_assets.simulator.server import RunningSimulator
from callkeeper_assets_tests.chaos.embedded_server import kill_server
from callkeeper_assets_tests.chaos.facts import describe_difference, read_days
from callkeeper_assets_tests.chaos.holds import hold
from callkeeper_assets_tests.chaos.installation import SOURCE, Installation
from callkeeper_assets_tests.chaos.rounds import FIRST, LAST, ZONE, begin_round, tell
from callkeeper_assets_tests.extent import one_of

_STATEMENTS: Final = (
    "LOCK TABLE callkeeper_loads IN EXCLUSIVE MODE",
    "LOCK TABLE callkeeper_calls IN ACCESS EXCLUSIVE MODE",
)


@pytest.fixture(scope="module")
def embedded(installation: Installation) -> Installation:
    """The installation with a home of its own, and the database in it; all days loaded once."""
    made = Installation(
        home=installation.home.parent / "embedded",
        defs=installation.defs,
        database="",
        variables=installation.variables,
    )
    ended = made.load(FIRST, LAST)
    assert ended.code == 0, ended
    return made


@pytest.mark.parametrize("statement", one_of(_STATEMENTS, _STATEMENTS[0]))
def test_a_load_whose_server_is_killed_says_so_and_the_next_mends_it(
    embedded: Installation, simulator: RunningSimulator, statement: str
) -> None:
    round_ = begin_round(embedded, simulator)
    with hold(embedded, statement) as held:
        arguments = ("load", SOURCE, "--from", str(FIRST), "--to", str(LAST))
        command = embedded.start("callkeeper_assets.cli.main", *arguments)
        held.wait_for_somebody()
        kill_server(embedded.home)
        stdout, stderr = command.communicate(timeout=120)
    assert command.returncode == 1, stdout
    assert f"{SOURCE}: No connection to the database postgresql://callkeeper@127.0.0.1:" in stderr
    assert "no day is half loaded: when the server runs, run the command again." in stderr
    assert "Traceback" not in stderr
    found = read_days(embedded, FIRST, LAST, ZONE)
    assert describe_difference(found, round_.old) == ""
    round_.mend()
    assert embedded.query(
        "SELECT count(*) FROM dagster.runs WHERE status IN ('STARTED', 'STARTING')"
    ) == [(0,)]
    assert describe_difference(read_days(embedded, FIRST, LAST, ZONE), tell(simulator)) == ""
