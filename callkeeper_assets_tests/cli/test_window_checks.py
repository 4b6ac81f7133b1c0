"""`check` tells whether a source heeds what it is asked for, and where the unified API answers."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import get_args

import pytest

from callkeeper_assets.callkeeper.client import CallKeeperClient
from callkeeper_assets.callkeeper.records import ApiName
from callkeeper_assets.cli.checks import Finding
from callkeeper_assets.cli.source_checks import check_windows
from callkeeper_assets.config.loading import load_source_file
from callkeeper_assets.simulator.server import RunningSimulator, run_simulator
from callkeeper_assets.simulator.settings import AccountSettings, AnswerSettings
from callkeeper_assets_tests.callkeeper.conftest import QUICK
from callkeeper_assets_tests.cli.conftest import KEY, callkeeper, days_ago, write_source
from callkeeper_assets_tests.cli.test_check import _find

APIS = get_args(ApiName)


@contextmanager
def _check(
    defs: Path,
    api: ApiName,
    *,
    calls_per_day: int = 40,
    known_day: date | None = None,
    **switches: object,
) -> Iterator[Finding]:
    """What `check` finds of a source that has such switches."""
    account = AccountSettings(
        key=KEY,
        name="main",
        calls_per_day=calls_per_day,
        rhythm="flat",
        first_day=datetime.now(UTC).date() - timedelta(days=20),
    )
    answers = AnswerSettings(**switches)  # type: ignore[arg-type]
    with run_simulator([account], answers=answers) as sim:
        write_source(defs, "main_office", f"api: {api}", f"base_url: {sim.base_urls[api]}")
        source = load_source_file(defs / "main_office" / "defs.yaml")
        with CallKeeperClient(
            source="main_office",
            api_key=KEY,
            api=api,
            base_url=source.base_url,
            time_zone=source.time_zone,
            retry=QUICK,
        ) as client:
            yield check_windows(source, client, known_day)


@pytest.mark.parametrize("api", APIS)
def test_a_source_that_heeds_windows_is_good(defs: Path, api: ApiName) -> None:
    with _check(defs, api) as found:
        assert (found.what, found.state) == ("windows", "good")
        assert "brings its call and none of elsewhere" in found.text
        assert ("time_zone is heeded" in found.text) == (api == "callkeeper")


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("bounds", ["ignored", "only_from", "only_to"])
def test_a_source_that_ignores_dates_is_bad(defs: Path, api: ApiName, bounds: str) -> None:
    with _check(defs, api, bounds=bounds) as found:
        assert found.state == "bad"
        assert "does not heed the dates" in found.text
        assert "sk CallKeeper's support" in found.text


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("calls_per_day", [2, 40])
def test_a_source_that_reads_bounds_in_another_zone_is_bad_and_the_zone_is_named(
    defs: Path, api: ApiName, calls_per_day: int
) -> None:
    """Also where so few calls come that no day shows it."""
    with _check(defs, api, calls_per_day=calls_per_day, bounds_zone="Europe/Moscow") as found:
        assert found.state == "bad"
        assert "Europe/Moscow" in found.text


def test_a_source_that_heeds_no_zone_is_a_warning(defs: Path) -> None:
    """It reads UTC whatever it is told: loads ask in UTC."""
    with _check(defs, "callkeeper", bounds_zone="UTC") as found:
        assert found.state == "warning"
        assert "does not heed time_zone" in found.text


@pytest.mark.parametrize("api", APIS)
def test_without_calls_it_is_said_that_nothing_was_probed(defs: Path, api: ApiName) -> None:
    with _check(defs, api, calls_per_day=0) as found:
        assert found.state == "warning"
        assert "no calls in the last 7 days" in found.text
        assert "could not be probed" in found.text


@pytest.mark.parametrize("api", APIS)
def test_a_day_that_the_tables_hold_and_the_source_does_not_send_is_bad(
    defs: Path, api: ApiName
) -> None:
    day = datetime.now(UTC).date() - timedelta(days=5)
    with _check(defs, api, calls_per_day=0, known_day=day) as found:
        assert found.state == "bad"
        assert f"the tables hold calls of {day}, and the source sends none for it" in found.text


def test_the_command_asks_for_a_day_of_the_tables(
    main_office: RunningSimulator, database: str
) -> None:
    assert database
    day = days_ago(12)
    assert callkeeper("load", "main_office", "--from", day, "--to", day).code == 0
    done = callkeeper("check", "--json")
    assert _find(done, "main_office", "windows")[0] == "good"
    assert f"of {day}, it brings its call" in _find(done, "main_office", "windows")[1]
    main_office.account("main").set_answers(bounds_zone="Europe/Moscow")
    done = callkeeper("check", "--json")
    assert done.code == 1
    state, text = _find(done, "main_office", "windows")
    assert state == "bad"
    assert "Europe/Moscow" in text
    assert KEY not in done.out + done.err


@pytest.mark.parametrize(
    ("switches", "state", "said"),
    [
        ({}, "good", "the API answers at {base}/api/"),
        (
            {"unified_address": "index_php", "unified_elsewhere": "redirect"},
            "warning",
            "the API answers at {base}/api/index.php, not at {base}/api/",
        ),
    ],
)
def test_the_command_says_which_address_of_the_unified_api_answers(
    defs: Path, monkeypatch: pytest.MonkeyPatch, switches: dict[str, str], *, state: str, said: str
) -> None:
    monkeypatch.setenv("MAIN_OFFICE_API_KEY", KEY)
    answers = AnswerSettings(**switches)  # type: ignore[arg-type]
    with run_simulator([AccountSettings(key=KEY, name="main")], answers=answers) as sim:
        write_source(defs, "main_office", "api: ckct", f"base_url: {sim.base_url}/api")
        done = callkeeper("check", "--json")
        found = _find(done, "main_office", "address")
        assert found[0] == state
        assert said.format(base=sim.base_url) in found[1]
        assert KEY not in done.out + done.err
