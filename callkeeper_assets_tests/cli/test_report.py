"""`callkeeper report`: the interface's own example, from the simulated source into a database."""

from pathlib import Path

import psycopg
import pytest

from callkeeper_assets.simulator.server import RunningSimulator
from callkeeper_assets_tests.cli.conftest import (
    CALLS_PER_DAY,
    KEY,
    ZONE,
    callkeeper,
    days_ago,
    write_source,
)

pytestmark = pytest.mark.e2e

# The interface's own, but for the source's attributes.
REPORTS = """\
reports:
    - name: calls_by_campaign
      type: calls
      fields: [id, date, visit_info.current.utm_campaign, duration2_sec, tags]
      refresh: {cron: "30 5 * * *", overlap_days: 3}
      structure:                          # left out: JSON rows in callkeeper_reports
        - table: campaign_calls
          key: [call_id]
          columns:
            call_id: {path: id, type: bigint}
            campaign: {path: visit_info.current.utm_campaign, type: text}
            talk_sec: {path: duration2_sec, type: integer}
        - table: campaign_call_tags
          rows: tags[]                    # one row for each element (JMESPath)
          key: [call_id, tag]
          columns:
            call_id: {parent: id, type: bigint}
            tag: {path: "@", type: text}
    - name: misnamed
      fields: [id, duration_sek]
    - name: as_json
      fields: [id, visit_info.current.utm_campaign, duration2_sec]
"""


@pytest.fixture
def main_office(
    defs: Path, simulator: RunningSimulator, monkeypatch: pytest.MonkeyPatch
) -> RunningSimulator:
    """The source `main_office` of the simulated account, with reports."""
    monkeypatch.setenv("MAIN_OFFICE_API_KEY", KEY)
    write_source(
        defs,
        "main_office",
        f"base_url: {simulator.base_url}",
        f"time_zone: {ZONE}",
        *REPORTS.splitlines(),
    )
    return simulator


def test_a_report_is_looked_at_built_and_reported(
    main_office: RunningSimulator, database: str
) -> None:
    """One story, as each of its steps takes seconds."""
    assert main_office.base_url
    loaded = callkeeper("load", "main_office", "--from", days_ago(3), "--to", days_ago(1))
    assert loaded.code == 0, loaded.err

    days = ("--from", days_ago(3), "--to", days_ago(1))
    looked = callkeeper("report", "main_office", "calls_by_campaign", *days, "--preview")
    assert looked.code == 0, looked.err
    assert "campaign_calls: 10 of 30 rows" in looked.out
    assert "Nothing is written." in looked.out
    # The account's calls have Sourcebuster's names.
    assert (
        "campaign_calls.campaign is empty: `utm_campaign` is found in none of the calls. "
        "Similar: cmp" in looked.err.replace("\n", " ")
    )
    assert looked.err.count("found in none") == 1
    missed = callkeeper("report", "main_office", "misnamed", *days, "--preview", "--json")
    assert missed.document()["unfound"] == [
        {
            "column": "callkeeper_reports.duration_sek",
            "field": "duration_sek",
            "similar": ["duration_sec", "duration2_sec", "duration_min"],
        }
    ]
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT to_regclass('campaign_calls')").fetchone() == (None,)

    built = callkeeper("report", "main_office", "calls_by_campaign", *days, "--json")
    assert built.code == 0, built.err
    (source,) = built.document()["sources"]
    assert source["tables"]["campaign_calls"] == {
        "added": 3 * CALLS_PER_DAY,
        "updated": 0,
        "deleted": 0,
    }
    again = callkeeper("report", "main_office", "calls_by_campaign", *days)
    assert "no row changed" in again.out
    json_built = callkeeper("report", "main_office", "as_json", *days, "--json")
    assert json_built.code == 0, json_built.err
    (source,) = json_built.document()["sources"]
    assert source["tables"]["callkeeper_reports"]["added"] == 3 * CALLS_PER_DAY

    part = callkeeper(
        "report", "main_office", "as_json", "--from", days_ago(5), "--to", days_ago(2), "--json"
    )
    assert part.code == 1
    assert (
        "Source 'main_office': no raw calls are there for 2 of 4 days: "
        f"{days_ago(5)} to {days_ago(4)}. The other days are built. Load them: callkeeper load "
        f"main_office --from {days_ago(5)} --to {days_ago(4)}"
    ) in part.err


@pytest.mark.usefixtures("database", "main_office")
@pytest.mark.parametrize(
    ("words", "text"),
    [
        (
            ("main_office", "as_jsn"),
            "There is no report 'as_jsn'. Did you mean 'as_json'? Allowed: as_json, calls_by_c",
        ),
        (("main_ofice", "as_json"), "There is no source 'main_ofice'. Did you mean 'main_office'?"),
    ],
)
def test_a_report_that_is_not_known_is_refused_with_those_that_are(
    words: tuple[str, str], text: str
) -> None:
    done = callkeeper("report", *words, "--from", days_ago(3), "--to", days_ago(2))
    assert done.code == 2
    assert text in done.err


@pytest.mark.usefixtures("database", "main_office")
def test_a_report_of_days_that_cannot_be_is_refused() -> None:
    done = callkeeper(
        "report", "main_office", "as_json", "--from", days_ago(2), "--to", days_ago(-2)
    )
    assert done.code == 2
    assert "is in the future for source 'main_office'" in done.err


@pytest.mark.usefixtures("main_office")
def test_a_preview_of_days_without_raw_calls_says_how_to_load_them() -> None:
    done = callkeeper(
        "report", "main_office", "as_json", "--from", days_ago(2), "--to", days_ago(1), "--preview"
    )
    assert done.code == 1
    assert f"no raw calls are there for {days_ago(2)} to {days_ago(1)}. Load them: " in done.err
