"""`callkeeper demo`, small: the whole story in a home of its own."""

import re
from pathlib import Path

import pytest

from callkeeper_assets_tests.cli.conftest import callkeeper


@pytest.mark.e2e
def test_the_demo_tells_its_story_and_leaves_real_data_alone(
    home: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CALLKEEPER_RAW_URL", str(home / "real"))
    done = callkeeper("demo", "--days", "4", "--calls-per-day", "40")
    assert done.code == 0, done.err
    assert "2. Historic load:" in done.out
    assert "3. Refresh, as the schedule does each day" in done.out
    assert "no row changed" in done.out
    assert "4. Calls come in, and CallKeeper sends webhooks" in done.out
    assert done.out.count("of 6 calls, ") == 2
    assert re.search(
        r"7\. Webhooks got lost.*yekaterinburg_clinic +\d+ +AFTER_CALL", done.out, re.DOTALL
    )
    assert "8. Somebody breaks rows of 4 calls in the tables" in done.out
    assert re.search(r"missing in the warehouse +2 +2 +0\n", done.out)
    assert re.search(r"9\. A report of one's own.*callkeeper_reports +\d", done.out, re.DOTALL)
    assert re.search(
        r"10\. .* keeps 2 days from now on.*callkeeper_calls_facts +\d", done.out, re.DOTALL
    )
    assert "11. What is loaded now" in done.out
    assert "callkeeper_calls_facts" in done.out
    assert "FROM calls\n" in done.out
    # Of tables that are empty a newcomer needs no list.
    assert "callkeeper_keys" not in done.out
    assert "Москва" in done.out
    assert "callkeeper demo --serve" in done.out
    # Four of the one, of the other today and the two days that it keeps.
    assert f"Raw calls: {home / 'demo' / 'raw'} (7 days," in done.out
    assert re.search(r"For BI: +postgresql://callkeeper_bi:\S+@127\.0\.0\.1:", done.out)
    assert database.rpartition("/")[2] not in done.out
    assert "\x1b" not in done.out
    assert not (home / "real").exists()
    # It is found again by what its last lines say.
    assert f"--project {home / 'demo'} query 'TABLE calls LIMIT 3'" in done.out
    asked = callkeeper("--project", str(home / "demo"), "query", "TABLE calls LIMIT 3")
    assert asked.code == 0, asked.err
    assert asked.out.startswith("account_id  account  call_id")
    assert not (home / "demo" / "postgres" / "data" / "postmaster.pid").exists()
