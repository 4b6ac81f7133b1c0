"""Control over HTTP, and the simulator as a process of its own."""

import datetime as dt
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
import requests

from callkeeper_assets.simulator.server import RunningSimulator
from callkeeper_assets_tests.simulator.conftest import DAY, KEY, OLD_KEY, Asker

_COMMAND = "import typer; from callkeeper_assets.cli.simulate import simulate; typer.run(simulate)"


def post(base_url: str, action: str, **values: object) -> Any:  # noqa: ANN401 - JSON
    """What a control request is answered."""
    return requests.post(f"{base_url}/_simulator/{action}", json=values, timeout=10).json()


def test_the_truth_is_served_over_http_as_in_process(sim: RunningSimulator) -> None:
    query = {"account": "main", "from": str(DAY), "to": str(DAY), "time_zone": "Asia/Tokyo"}
    reported = requests.get(f"{sim.base_url}/_simulator/truth", params=query, timeout=10).json()
    truth = sim.account("main").truth(DAY, DAY, "Asia/Tokyo")
    assert (reported["count"], reported["sums"]) == (truth.count, truth.sums)
    told_at = dt.datetime.fromisoformat(reported["calls"][0]["called_at"])
    assert told_at == truth.calls[0]["called_at"]
    totals = requests.get(
        f"{sim.base_url}/_simulator/truth", params={**query, "calls": "0"}, timeout=10
    ).json()
    assert totals == {**reported, "calls": []}


def test_calls_are_changed_added_and_removed_over_http(sim: RunningSimulator, asker: Asker) -> None:
    day = str(DAY)
    before = set(asker.day_ids(DAY))
    changed = post(sim.base_url, "change", account="main", day=day, count=2, column="tags")
    added = post(sim.base_url, "add", account="main", day=day, count=2)
    removed = post(sim.base_url, "remove", account="main", day=day)
    held = post(sim.base_url, "hold", account="main", day=day, code=2)
    final = post(sim.base_url, "finalise", account="main", day=day)
    assert [(each["kind"], each["column"]) for each in changed] == [("changed", "tags")] * 2
    assert set(asker.day_ids(DAY)) == (before | {each["call_id"] for each in added}) - {
        removed[0]["call_id"]
    }
    assert {each["call_id"] for each in held} == {each["call_id"] for each in final}


def test_switches_faults_and_the_clock_are_set_over_http(
    sim: RunningSimulator, asker: Asker
) -> None:
    post(sim.base_url, "answers", account="main", success_shape="list")
    assert isinstance(asker.ask("getCallsInfo", from_=str(DAY), to=str(DAY)).json(), list)
    post(sim.base_url, "faults", faults=[{"kind": "server_error", "times": 1, "status": 500}])
    assert [asker.ask("getUserInfo").status_code for _ in range(2)] == [500, 200]
    post(sim.base_url, "clock", now="2025-06-01T12:00:00+03:00")
    assert asker.ask("getCallsInfo", from_=str(DAY), to=str(DAY)).json() == []


def test_an_account_is_opened_over_http_and_described_without_its_key(
    sim: RunningSimulator,
) -> None:
    post(sim.base_url, "accounts", key="c" * 32, name="third", calls_per_day=5)
    assert Asker(sim, "c" * 32).ask("getUserInfo").status_code == 200
    shown = requests.get(f"{sim.base_url}/_simulator/accounts", timeout=10)
    assert [account["name"] for account in shown.json()] == ["main", "old", "third"]
    assert shown.json()[2]["requests"] == {"getUserInfo": 1}
    assert shown.json()[2]["answers"]["date_to"] == "inclusive"
    assert not [key for key in (KEY, OLD_KEY, "c" * 32) if key in shown.text]


@pytest.mark.parametrize(
    ("action", "values", "message"),
    [
        ("answers", {"date_too": "x"}, "AnswerSettings has no date_too; it has bare_date_to, "),
        ("answers", {"date_to": "x"}, "Invalid enum value 'x' - at `$.date_to`"),
        ("faults", {"faults": [{"kind": "flood"}]}, "Invalid enum value 'flood' - at `$.kind`"),
        ("change", {"account": "main"}, "day is missing: a day as 2026-01-31"),
        ("change", {"day": "2026-03-02"}, "account is missing: the simulator has 2"),
        ("change", {"account": "x"}, "no such account; the simulator has main, old"),
        ("accounts", {"key": KEY}, "the simulator already has an account of this key"),
        ("explode", {}, "no POST explode; there are GET accounts, "),
    ],
)
def test_a_wrong_control_request_says_what_is_allowed(
    sim: RunningSimulator, action: str, values: dict[str, object], message: str
) -> None:
    assert post(sim.base_url, action, **values)["error"].startswith(message)


def test_eight_threads_are_answered_at_once_and_alike(sim: RunningSimulator) -> None:
    days = [DAY + dt.timedelta(days=n) for n in range(8)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(Asker(sim).day_ids, days * 4))
    truth = [
        [call["call_id"] for call in sim.account("main").truth(day, day).calls] for day in days
    ]
    assert found == truth * 4
    assert sim.account("main").requests["getCallsInfo"] == 32
    assert 1 <= sim.account("main").most_at_once <= 8


@contextmanager
def run_process(*options: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A simulator as a process of its own, and where it is."""
    command = [sys.executable, "-c", _COMMAND, "--port", "0", *options]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        assert first.startswith("CallKeeper is simulated at http://127.0.0.1:"), first
        try:
            yield first.split()[-1], process
        finally:
            process.kill()


def run_wrongly(*options: str) -> tuple[int, str]:
    """Exit code and errors, on one line, of a simulator that does not start."""
    done = subprocess.run(
        [sys.executable, "-c", _COMMAND, *options],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, " ".join(done.stderr.replace("│", " ").split())


def test_a_process_of_its_own_serves_warms_and_logs_no_key() -> None:
    options = ("--account", f"{KEY},name=spb,calls_per_day=30", "--seed", "5", "--log")
    more = ("--answer", "success_shape=list", "--fault", "html,times=1", "--now", "2026-03-31")
    with run_process(*options, *more) as (base_url, process):
        window = {"from": "2026-03-01", "to": "2026-03-31"}
        warmed = post(base_url, "warm", **window)["calls"]
        query = f"api_key={KEY}&date[from]=2026-03-01&date[to]=2026-03-31&time_zone=Europe/Moscow"
        first = requests.get(f"{base_url}/getCallsInfo?{query}", timeout=10)
        second = requests.get(f"{base_url}/getCallsInfo?{query}", timeout=10)
        process.send_signal(signal.SIGTERM)
        output, log = process.communicate(timeout=60)
    assert first.text.startswith("<!DOCTYPE html>")
    assert len(second.json()) == warmed > 500
    assert process.returncode == 0
    assert "GET /getCallsInfo html" in log
    assert "GET /getCallsInfo 200" in log
    assert KEY not in log + output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--answer", "date_to=often"), "Invalid enum value 'often'"),
        (("--account", f"{KEY},colour=red"), "AccountSettings has no colour"),
        (("--fault", "html,odds"), "'odds' is not name=value"),
        (("--calls-per-day", "1000000"), "calls_per_day is 1000000"),
        (("--account", "secret", "--port", "0"), "key has 6 characters; allowed are 32"),
        (("--account", KEY, "--account", KEY), "already has an account of this key"),
        (("--time-zone", "Mars/Phobos"), "no such time zone: Mars/Phobos"),
    ],
)
def test_a_wrong_option_is_wrong_usage(options: tuple[str, ...], message: str) -> None:
    code, errors = run_wrongly(*options)
    assert code == 2
    assert message in errors
