"""A disk without any room, below raw calls and below the home: what is said, and what is left."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from callkeeper_assets.simulator.server import RunningSimulator
from callkeeper_assets_tests.chaos.day.parts import Disk, make_disk
from callkeeper_assets_tests.chaos.facts import describe_difference, read_days
from callkeeper_assets_tests.chaos.installation import Ended, Installation
from callkeeper_assets_tests.chaos.rounds import FIRST, LAST, ZONE, tell


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A file system of 8 MB."""
    made = make_disk(tmp_path / "disk", 8)
    if not made.is_small:
        pytest.skip("a small disk can be mounted by root alone")
    yield made
    made.close()


def _try(made: Installation, simulator: RunningSimulator, disk: Disk) -> Ended:
    """Load with a full disk, and again when there is room; return what was said first."""
    disk.fill()
    ended = made.load(FIRST, LAST)
    assert [file for file in (disk.folder / "raw").rglob("*") if file.is_file()] == []
    disk.free()
    again = made.load(FIRST, LAST)
    assert again.code == 0, again
    found = read_days(made, FIRST, LAST, ZONE)
    assert describe_difference(found, tell(simulator)) == ""
    return ended


def test_a_full_disk_below_raw_calls_is_said_and_leaves_no_half_of_a_day(
    installation: Installation, simulator: RunningSimulator, disk: Disk
) -> None:
    raw = disk.folder / "raw"
    variables = {**installation.variables, "CALLKEEPER_RAW_URL": str(raw)}
    ended = _try(replace(installation, variables=variables), simulator, disk)
    assert ended.code == 1
    for said in ("No space left on device", "CALLKEEPER_RAW_URL", "free space"):
        assert said in ended.stdout + ended.stderr


def test_a_full_disk_below_the_home_costs_what_the_run_printed_and_nothing_else(
    installation: Installation, simulator: RunningSimulator, disk: Disk, tmp_path: Path
) -> None:
    variables = {**installation.variables, "CALLKEEPER_RAW_URL": str(tmp_path / "raw")}
    made = replace(installation, home=disk.folder / "home", variables=variables)
    ended = _try(made, simulator, disk)
    assert ended.code == 0
    assert "Traceback" not in ended.stderr
