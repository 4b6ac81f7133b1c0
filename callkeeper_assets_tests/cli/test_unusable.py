"""`callkeeper unusable`: what came and is no call, listed as it is stored."""

import json

import pytest

from callkeeper_assets.simulator.server import RunningSimulator
from callkeeper_assets_tests.cli.conftest import callkeeper, days_ago


@pytest.mark.usefixtures("database")
def test_what_is_no_call_is_listed_with_its_day_and_reason(main_office: RunningSimulator) -> None:
    account = main_office.account("main")
    account.set_answers(unusable=0.2)
    first, last = days_ago(3), days_ago(2)
    assert callkeeper("load", "main_office", "--from", first, "--to", last).code == 0
    done = callkeeper("unusable", "main_office", "--json")
    assert done.code == 0
    document = done.document()
    records = document["records"]
    assert document["source"] == "main_office"
    assert document["count"] == len(records) > 0
    assert {one["day"] for one in records} <= {first, last}
    for one in records:
        assert one["reason"].startswith(("it has no id: ", "it has no time: ", "it is no object"))
        shown = json.loads(one["record"])
        known = shown.get("id") if isinstance(shown, dict) else None
        is_id = type(known) in (int, str) and int(known) > 0  # type: ignore[arg-type]
        assert one["call_id"] == (int(known) if is_id else None)  # type: ignore[arg-type]
    one_day = callkeeper("unusable", "main_office", "--from", last, "--to", last, "--json")
    assert one_day.document()["records"] == [one for one in records if one["day"] == last]
    listed = callkeeper("unusable", "main_office")
    assert f"{len(records)} records of main_office cannot be used." in listed.out
    assert all(one["record"] in listed.out and one["reason"] in listed.out for one in records)


@pytest.mark.usefixtures("main_office")
def test_nothing_is_reported_where_nothing_is_loaded_and_wrong_days_are_refused() -> None:
    done = callkeeper("unusable", "main_office")
    assert (done.code, done.out) == (0, "0 records of main_office cannot be used.\n")
    wrong = callkeeper("unusable", "main_office", "--from", "2026-02-01", "--to", "2026-01-01")
    assert wrong.code == 2
    assert "--from 2026-02-01 is after --to 2026-01-01." in wrong.err
    assert callkeeper("unusable", "nobody").code == 2
