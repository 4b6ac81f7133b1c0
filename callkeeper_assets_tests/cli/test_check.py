"""`callkeeper check`: what is wrong is listed with its remedy, what is right all the same."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tzdata import IANA_VERSION

from callkeeper_assets.callkeeper.records import ApiName
from callkeeper_assets.postgres import connect
from callkeeper_assets.simulator.server import RunningSimulator, run_simulator
from callkeeper_assets.simulator.settings import AccountSettings, AnswerSettings
from callkeeper_assets_tests.cli.conftest import KEY, Done, callkeeper, write_source
from callkeeper_assets_tests.templates import from_nothing
from callkeeper_assets_tests.zones import install_rules

WRONG_KEY = "ffffffffffffffffffffffffffffffff"
OLD_KEY = "Zz34567890abcdeF"


def _find(done: Done, subject: str, what: str) -> tuple[str, str]:
    """State and text of one finding of a `--json` document."""
    for finding in done.document()["findings"]:
        if (finding["subject"], finding["what"]) == (subject, what):
            return finding["state"], finding["text"]
    raise AssertionError(f"no finding for {subject}, {what}: {done.out}")


@from_nothing
@pytest.mark.usefixtures("main_office", "database")
def test_all_is_well_with_a_good_installation() -> None:
    done = callkeeper("check", "--json")
    assert (done.code, done.err) == (0, "")
    assert done.document()["ok"] is True
    assert _find(done, "main_office", "key") == (
        "good",
        "MAIN_OFFICE_API_KEY is good, the account is paid until 2030-07-01",
    )
    assert _find(done, "installation", "tables") == ("good", "none yet; the first load makes them")
    assert _find(done, "installation", "database")[0] == "good"
    assert _find(done, "installation", "raw calls")[0] == "good"


@pytest.mark.usefixtures("main_office")
def test_a_setting_that_our_connections_cannot_make_their_own_is_named(database: str) -> None:
    """A trigger on login has the last word, as a pooler has that ignores what is asked for."""
    with connect(database, autocommit=True) as connection:
        connection.execute(
            "CREATE FUNCTION strict() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN "
            "PERFORM set_config('statement_timeout', '30s', false); "
            "PERFORM set_config('idle_session_timeout', '10min', false); END $$"
        )
        connection.execute("CREATE EVENT TRIGGER strict ON login EXECUTE FUNCTION strict()")
    done = callkeeper("check", "--json")
    assert done.code == 1
    state, text = _find(done, "installation", "settings")
    assert state == "bad"
    assert "asks for it: idle_session_timeout = 10min, statement_timeout = 30s. A pooler" in text
    assert "ALTER ROLE callkeeper RESET statement_timeout;" in text


@pytest.mark.usefixtures("main_office")
def test_the_table_is_plain_where_it_is_piped() -> None:
    done = callkeeper("check")
    assert done.code == 0
    assert "✓" in done.out
    assert "\x1b" not in done.out
    assert all(line == line.rstrip() for line in done.out.splitlines())


def test_a_broken_source_is_listed_and_the_others_are_checked(
    defs: Path, main_office: RunningSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WRONG_API_KEY", WRONG_KEY)
    monkeypatch.delenv("UNSET_API_KEY", raising=False)
    base_url = f"base_url: {main_office.base_url}"
    write_source(defs, "broken", "tabels: [x]")
    write_source(defs, "unset", base_url)
    write_source(defs, "wrong", base_url)
    done = callkeeper("check", "--json")
    assert done.code == 1
    assert _find(done, "main_office", "key")[0] == "good"
    state, text = _find(done, "broken", "configuration")
    assert state == "bad"
    assert "defs.yaml:4: tabels: there is no attribute 'tabels'" in text
    state, text = _find(done, "unset", "key")
    assert state == "bad"
    assert "UNSET_API_KEY" in text
    state, text = _find(done, "wrong", "key")
    assert state == "bad"
    assert "Not the correct key api" in text
    assert "Check the key in the environment variable WRONG_API_KEY" in text
    assert "other API" not in text
    assert WRONG_KEY not in done.out + done.err
    assert KEY not in done.out + done.err


def test_a_key_that_two_sources_have_is_refused(
    defs: Path, main_office: RunningSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TWIN_API_KEY", KEY)
    write_source(defs, "twin", f"base_url: {main_office.base_url}")
    done = callkeeper("check", "--json")
    assert done.code == 1
    said = {
        finding["subject"]: finding["text"]
        for finding in done.document()["findings"]
        if finding["what"] == "key" and finding["state"] == "bad"
    }
    assert said.keys() == {"main_office", "twin"}
    assert "The key in TWIN_API_KEY is also that of main_office: each call is in" in said["twin"]


@pytest.mark.parametrize("given", ["callkeeper", "ckct"])
def test_a_key_under_the_wrong_api_is_reported_with_whose_it_is(
    defs: Path, monkeypatch: pytest.MonkeyPatch, given: ApiName
) -> None:
    """Each of two accounts under its own API, and under the other one's."""
    keys: dict[ApiName, str] = {"callkeeper": KEY, "ckct": OLD_KEY}
    accounts = [AccountSettings(key=keys[api], name=api, only_api=api) for api in keys]
    right: ApiName = "ckct" if given == "callkeeper" else "callkeeper"
    monkeypatch.setenv("WRONG_API_KEY", keys[right])
    monkeypatch.setenv("RIGHT_API_KEY", keys[right])
    with run_simulator(accounts) as simulator:
        for name, api in (("wrong", given), ("right", right)):
            write_source(defs, name, f"api: {api}", f"base_url: {simulator.base_urls[api]}")
        done = callkeeper("check", "--json")
        assert _find(done, "right", "key")[0] == "good"
        state, text = _find(done, "wrong", "key")
        assert state == "bad"
        assert "The key belongs to CallKeeper's other API" in text
        assert f"set api: {right} and base_url: {simulator.base_urls[right]} in " in text
    assert keys[right] not in done.out + done.err


@pytest.mark.parametrize(("days", "words"), [(5, "5 days from now"), (-3, "which is past. Pay it")])
def test_the_end_of_the_paid_time_is_a_warning(
    main_office: RunningSimulator, days: int, words: str
) -> None:
    paid_till = datetime.now(UTC) + timedelta(days=days)
    main_office.account("main").configure(AnswerSettings(paid_till=paid_till))
    done = callkeeper("check", "--json")
    assert done.code == 0
    state, text = _find(done, "main_office", "key")
    assert state == "warning"
    assert words in text


@pytest.mark.usefixtures("main_office")
def test_an_unreachable_database_is_said_without_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CALLKEEPER_DATABASE_URL", "postgresql://me:hidden@127.0.0.1:1/calls")
    done = callkeeper("check", "--json")
    assert done.code == 1
    state, text = _find(done, "installation", "database")
    assert state == "bad"
    assert "No connection to the database postgresql://me@127.0.0.1:1/calls" in text
    assert "hidden" not in done.out + done.err


@pytest.mark.usefixtures("defs")
def test_a_place_of_raw_calls_that_cannot_be_used_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLKEEPER_RAW_URL", "nosuch://bucket/calls")
    done = callkeeper("check", "--json")
    assert done.code == 1
    state, text = _find(done, "installation", "raw calls")
    assert state == "bad"
    assert "nosuch" in text


@pytest.mark.usefixtures("defs")
def test_without_a_source_it_is_said_how_to_make_one() -> None:
    done = callkeeper("check", "--json")
    assert done.code == 0
    state, text = _find(done, "installation", "sources")
    assert state == "warning"
    assert "callkeeper add main_office" in text


@pytest.mark.usefixtures("main_office")
def test_a_dagster_home_without_its_file_is_said(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    done = callkeeper("check", "--json")
    assert done.code == 1
    assert _find(done, "installation", "dagster")[0] == "bad"


def test_a_zone_that_other_rules_on_the_machine_have_otherwise_is_a_warning(
    defs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rules of 2025, as Debian 12 has: an hour off in Vancouver since 2026-11-01."""
    zones = {"America__Vancouver": "America/Los_Angeles", "Europe__Moscow": "Europe/Moscow"}
    system = install_rules(tmp_path / "zoneinfo", "2025b", **zones)
    monkeypatch.setenv("PYTHONTZPATH", str(system))
    write_source(defs, "far_west", "time_zone: America/Vancouver")
    write_source(defs, "main_office")
    done = callkeeper("check", "--json")
    state, text = _find(done, "installation", "time zones")
    assert state == "good"
    assert f"rules of {IANA_VERSION}, the package tzdata" in text
    assert f"not used: 2025b, the system's files in {system}" in text
    state, text = _find(done, "far_west", "time zone")
    assert state == "warning"
    assert "America/Vancouver is UTC-07:00 from 2026-11-01 09:00 UTC on" in text
    assert f"UTC-08:00 by 2025b, the system's files in {system}." in text
    assert "callkeeper load far_west --from DAY --to DAY" in text
    whats = [one["what"] for one in done.document()["findings"] if one["subject"] == "main_office"]
    assert "time zone" not in whats
