"""Switches of a success: shapes of lists and empty periods, names and nesting of marks, drift."""

import datetime as dt
from typing import Any

import pytest

from callkeeper_assets.simulator.server import RunningSimulator
from callkeeper_assets_tests.simulator.conftest import Asker

_EMPTY = {"from_": "2024-01-01", "to": "2024-01-02"}


@pytest.mark.parametrize(
    ("switches", "status", "body"),
    [
        ({}, 200, {"result": []}),
        ({"success_shape": "list"}, 200, []),
        ({"empty_period": "bare_list"}, 200, []),
        (
            {"empty_period": "failure", "failure_shape": "object"},
            200,
            {"status": "fail", "reason": "No rows found"},
        ),
        (
            {"empty_period": "failure", "empty_failure_status": 404},
            404,
            [{"status": "fail", "reason": "No rows found"}],
        ),
    ],
)
def test_an_empty_period_answers_by_its_switch(
    sim: RunningSimulator, asker: Asker, switches: dict[str, Any], status: int, body: object
) -> None:
    sim.account("main").set_answers(**switches)
    answer = asker.ask("getCallsInfo", **_EMPTY)
    assert (answer.status_code, answer.json()) == (status, body)


def test_a_success_can_be_a_bare_list(sim: RunningSimulator, asker: Asker) -> None:
    wrapped = asker.calls("2026-03-02", "2026-03-03")
    sim.account("main").set_answers(success_shape="list")
    window = {"from_": "2026-03-02", "to": "2026-03-03", "time_zone": "Europe/Moscow"}
    assert asker.ask("getCallsInfo", **window).json() == wrapped


def _visited(asker: Asker) -> dict[str, Any]:
    calls = asker.calls("2026-03-02", "2026-03-02")
    return next(call for call in calls if isinstance(call.get("visit_info"), dict))


def test_marks_have_the_keys_of_sourcebuster_inside_the_visit(asker: Asker) -> None:
    visit = _visited(asker)["visit_info"]
    assert set(visit) == {"current", "current_add", "first", "first_add", "session", "udata"}
    assert set(visit["current"]) == {"typ", "src", "mdm", "cmp", "cnt", "trm"}
    assert set(visit["first_add"]) == {"fd", "ep", "rf"}
    assert set(visit["session"]) == {"pgs", "cpg"}
    assert set(visit["udata"]) == {"vst", "uip", "uag"}


def test_marks_have_the_documents_names_beside_the_visit_by_switch(
    sim: RunningSimulator, asker: Asker
) -> None:
    before = _visited(asker)
    sim.account("main").set_answers(mark_keys="utm", nesting="beside")
    call = _visited(asker)
    assert set(call["visit_info"]) == {"current", "current_add", "first", "first_add"}
    assert list(call["visit_info"]["current"].values()) == list(
        before["visit_info"]["current"].values()
    )
    assert set(call["visit_info"]["current"]) == {
        "utm_type",
        "utm_source",
        "utm_medium",
        "utm_campaign",
        "utm_content",
        "utm_term",
    }
    assert set(call["visit_info"]["current_add"]) == {"fd", "entry_point", "referrer"}
    assert call["session"] == before["visit_info"]["session"]
    assert call["udata"] == before["visit_info"]["udata"]


def test_unknown_fields_come_only_by_switch(sim: RunningSimulator, asker: Asker) -> None:
    before = set(_visited(asker))
    sim.account("main").set_answers(unknown_fields=True)
    assert set(_visited(asker)) - before == {"ai_summary", "callback_rating"}


def test_a_paid_period_that_is_over_is_reported(sim: RunningSimulator, asker: Asker) -> None:
    sim.account("main").set_answers(
        paid_till=dt.datetime(2018, 7, 1, tzinfo=dt.timezone(dt.timedelta(hours=3))),
        user_info_shape="object",
    )
    assert asker.ask("getUserInfo").json()["paid_till"] == "2018-07-01T00:00:00+03:00"
