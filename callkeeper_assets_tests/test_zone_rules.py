"""One source of rules of time zones for all of a process of ours: the newest at hand.

Each case is a process of its own, for zoneinfo is told once; a machine's files are imitated by
folders that `PYTHONTZPATH` names.
"""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import tzdata

from callkeeper_assets.local_time import (
    Difference,
    Rules,
    find_change,
    find_difference,
    list_rules,
    list_zone_names,
)
from callkeeper_assets_tests.zones import install_rules

_SINCE, _UNTIL = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 12, 31, tzinfo=UTC)


def _ask(folder: Path, expression: str) -> str:
    """Evaluate an expression in a process of ours in which the folder is the system's."""
    code = (
        "import zoneinfo\n"
        "from callkeeper_assets.local_time import use_newest_rules\n"
        "use_newest_rules()\n"
        "from datetime import date, datetime\n"
        "from callkeeper_assets.local_time import day_start\n"
        "from callkeeper_assets.local_time import list_rules\n"
        f"print({expression})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONTZPATH": str(folder)},
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


@pytest.mark.parametrize("version", ["2025b", "1999z", None])
def test_files_that_are_older_or_of_an_unknown_age_do_not_count(
    tmp_path: Path, version: str | None
) -> None:
    folder = install_rules(tmp_path, version, Europe__Moscow="Asia/Tokyo")
    assert _ask(folder, "datetime(2026, 3, 2, tzinfo=zoneinfo.ZoneInfo('Europe/Moscow'))") == (
        "2026-03-02 00:00:00+03:00"
    )


@pytest.mark.parametrize("version", ["2999a", "2026zz"])
def test_files_that_are_newer_than_the_package_count(tmp_path: Path, version: str) -> None:
    """A machine that is kept up to date, with a package that was pinned long ago."""
    folder = install_rules(tmp_path, version, Europe__Moscow="Asia/Tokyo")
    assert _ask(folder, "datetime(2026, 3, 2, tzinfo=zoneinfo.ZoneInfo('Europe/Moscow'))") == (
        "2026-03-02 00:00:00+09:00"
    )
    assert _ask(folder, "list_rules()[0].version") == version


def test_of_two_of_one_version_the_packages_counts(tmp_path: Path) -> None:
    folder = install_rules(tmp_path, tzdata.IANA_VERSION, Europe__Moscow="Asia/Tokyo")
    assert _ask(folder, "list_rules()[0].folder") == "None"


def test_a_zone_that_was_read_before_is_read_anew(tmp_path: Path) -> None:
    """Dagster's daemon may have asked zoneinfo before it opens our storage."""
    folder = install_rules(tmp_path, "2025b", Europe__Moscow="Asia/Tokyo")
    code = (
        "import zoneinfo\n"
        "from datetime import datetime\n"
        "before = zoneinfo.ZoneInfo('Europe/Moscow')\n"
        "from callkeeper_assets.local_time import use_newest_rules\n"
        "use_newest_rules()\n"
        "for zone in (before, zoneinfo.ZoneInfo('Europe/Moscow')):\n"
        "    print(datetime(2026, 3, 2, tzinfo=zone).utcoffset())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONTZPATH": str(folder)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == ["9:00:00", "3:00:00"]


@pytest.mark.parametrize(
    "begin",
    [
        "import callkeeper_assets.definitions",
        "import callkeeper_assets.worker.__main__",
        (
            "from callkeeper_assets.dagster_ext.storage import CallKeeperStorage\n"
            "CallKeeperStorage.from_config_value(None, {})"
        ),
        (
            "import sys; from callkeeper_assets.cli.main import main\n"
            "sys.argv = ['callkeeper', '--help']\n"
            "try: main()\n"
            "except SystemExit: pass"
        ),
    ],
    ids=["code server", "worker", "daemon and web server", "command line"],
)
def test_every_process_of_ours_goes_by_the_newest_rules(
    tmp_path: Path, begin: str, database: str
) -> None:
    assert database
    folder = install_rules(tmp_path, "2025b", Europe__Moscow="Asia/Tokyo")
    ask = "print(datetime(2026, 3, 2, tzinfo=zoneinfo.ZoneInfo('Europe/Moscow')).utcoffset())"
    done = subprocess.run(
        [sys.executable, "-c", f"import zoneinfo\nfrom datetime import datetime\n{begin}\n{ask}"],
        env={**os.environ, "PYTHONTZPATH": str(folder)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.split()[-1] == "3:00:00"


def test_vancouver_stays_seven_hours_behind_since_november_2026(tmp_path: Path) -> None:
    """Rules of 2025 put its clock back on 2026-11-01, as those of Los Angeles still do."""
    folder = install_rules(tmp_path, "2025b", America__Vancouver="America/Los_Angeles")
    start = "day_start(date(2026, 11, 28), zoneinfo.ZoneInfo('America/Vancouver'))"
    assert _ask(folder, start) == "2026-11-28 07:00:00+00:00"


def test_dagsters_days_begin_where_ours_do(tmp_path: Path) -> None:
    """Its partitions and schedules come of zoneinfo as well: what it launches is our day."""
    folder = install_rules(tmp_path, "2025b", America__Vancouver="America/Los_Angeles")
    days = (
        "__import__('dagster')"
        ".DailyPartitionsDefinition('2026-11-01', timezone='America/Vancouver')"
        ".time_window_for_partition_key('2026-11-28').start.timestamp()"
    )
    assert float(_ask(folder, days)) == datetime(2026, 11, 28, 7, tzinfo=UTC).timestamp()


def test_names_are_those_of_the_list_not_of_a_folder() -> None:
    names = list_zone_names()
    assert {"Europe/Moscow", "US/Eastern", "Asia/Calcutta", "UTC", "Etc/GMT-3"} <= names
    assert not names & {"localtime", "posixrules", "Factory", "posix/Europe/Moscow", "right/UTC"}
    assert {name for name in names if ZoneInfo(name).key != name} == set()


def test_a_difference_is_told_from_its_first_moment(tmp_path: Path) -> None:
    folder = install_rules(
        tmp_path, "2025b", America__Vancouver="America/Los_Angeles", Asia__Tokyo="UTC"
    )
    other = Rules("2025b", str(folder))
    assert find_difference("America/Vancouver", other, _SINCE, _UNTIL) == Difference(
        datetime(2026, 11, 1, 9, tzinfo=UTC), timedelta(hours=-7), timedelta(hours=-8)
    )
    assert find_difference("Asia/Tokyo", other, _SINCE, _UNTIL) == Difference(
        _SINCE, timedelta(hours=9), timedelta()
    )


def test_the_same_rules_and_a_zone_that_is_missing_differ_in_nothing(tmp_path: Path) -> None:
    other = Rules("2025b", str(install_rules(tmp_path, "2025b", Europe__Berlin="Europe/Berlin")))
    assert find_difference("Europe/Berlin", other, _SINCE, _UNTIL) is None
    assert find_difference("Europe/Moscow", other, _SINCE, _UNTIL) is None


def test_what_counts_here_is_the_newest_that_is_installed() -> None:
    versions = [rules.version for rules in list_rules()]
    assert tzdata.IANA_VERSION in versions
    assert versions[0] == max(versions)


def test_a_change_is_found_to_the_second() -> None:
    before, after = datetime(2026, 10, 25, tzinfo=UTC), datetime(2026, 10, 26, tzinfo=UTC)
    changed = datetime(2026, 10, 25, 1, tzinfo=UTC)
    assert find_change(before, after, ZoneInfo("Europe/Berlin")) == changed
