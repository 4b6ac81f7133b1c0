"""Webhooks by control over HTTP, and from the simulator as a process of its own."""

import datetime as dt
import signal
import time
from typing import Any

import pytest
import requests

from callkeeper_assets.simulator.server import RunningSimulator
from callkeeper_assets_tests.simulator.conftest import DAY, KEY, NOW, OLD_KEY
from callkeeper_assets_tests.simulator.receiver import Receiver, Reply, run_receiver
from callkeeper_assets_tests.simulator.test_control import post, run_process, run_wrongly

_TOKEN = "s3cret-t0ken"


def _deliveries(base_url: str, **query: str) -> requests.Response:
    return requests.get(
        f"{base_url}/_simulator/deliveries", params={"account": "main", **query}, timeout=10
    )


def test_webhooks_are_set_sent_and_reported_over_http(
    sim: RunningSimulator, receiver: Receiver
) -> None:
    done = post(
        sim.base_url, "webhooks", account="main", url=receiver.url, loss=0.2, names={"page": "p"}
    )
    assert (done[0]["loss"], done[0]["names"], done[0]["method"]) == (0.2, {"page": "p"}, "POST")
    receiver.replies.append(Reply(404))
    sent = post(
        sim.base_url,
        "send",
        account="main",
        **{"from": str(DAY)},
        rate=500,
        events=["Call is over"],
    )
    assert {each["event"] for each in sent} == {"Call is over"}
    assert {each["call_id"] for each in sent} == {
        call["call_id"] for call in sim.account("main").truth(DAY, DAY).calls
    }
    reported = _deliveries(sim.base_url, payloads="1").json()
    assert len(reported) == len(sent)
    came = sorted(each.body.decode() for each in receiver.received)
    assert sorted(each["payload"] for each in reported if each["outcome"] == "answered") == came
    assert [each["status"] for each in reported].count(404) == 1
    assert {each["outcome"] for each in reported} == {"answered", "lost"}
    one = str(reported[3]["call_id"])
    assert _deliveries(sim.base_url, call_ids=one).json() == [{**reported[3], "payload": None}]
    rest = _deliveries(sim.base_url, after=str(len(reported) - 2)).json()
    assert [each["number"] for each in rest] == [len(reported) - 1, len(reported)]


def test_new_calls_given_calls_and_windows_are_sent_over_http(
    sim: RunningSimulator, receiver: Receiver
) -> None:
    post(sim.base_url, "webhooks", account="main", url=receiver.url)
    new = post(sim.base_url, "send", account="main", **{"from": str(DAY)}, new=2)
    ids = [new[0]["call_id"], new[2]["call_id"]]
    again = post(sim.base_url, "send", account="main", **{"from": str(DAY)}, call_ids=ids)
    assert sorted(each["call_id"] for each in again) == sorted(ids * 2)
    window = {"from": str(DAY), "to": str(DAY + dt.timedelta(days=1))}
    both = post(sim.base_url, "send", account="main", **window)
    count = sim.account("main").truth(DAY, DAY + dt.timedelta(days=1), has_calls=False).count
    assert len(both) == 2 * count
    assert len(receiver.received) == 8 + len(both)


def test_live_webhooks_are_switched_on_over_http(sim: RunningSimulator, receiver: Receiver) -> None:
    post(sim.base_url, "webhooks", account="main", url=receiver.url, live=True)
    post(sim.base_url, "clock", now=(NOW + dt.timedelta(hours=2)).isoformat())
    until = time.monotonic() + 10
    while not receiver.received and time.monotonic() < until:
        time.sleep(0.05)
    assert receiver.received


def test_nothing_that_control_tells_shows_a_token(
    sim: RunningSimulator, receiver: Receiver
) -> None:
    shown = [
        post(sim.base_url, "webhooks", account="main", url=f"{receiver.url}?and={_TOKEN}"),
        post(sim.base_url, "send", account="main", **{"from": str(DAY)}, new=1),
        _deliveries(sim.base_url, payloads="1").text,
        requests.get(f"{sim.base_url}/_simulator/accounts", timeout=10).text,
        post(sim.base_url, "webhooks", account="main", url=f"ftp://{_TOKEN}/{_TOKEN}"),
        post(sim.base_url, "webhooks", account="main", url=[_TOKEN]),
        post(sim.base_url, "send", account="main", **{"from": str(DAY)}, rate=-1),
    ]
    assert receiver.received
    assert _TOKEN not in str(shown)
    assert f"http://127.0.0.1:{receiver.server_address[1]}/…" in str(shown)


@pytest.mark.parametrize(
    ("action", "values", "message"),
    [
        ("webhooks", {"shape": "x"}, "WebhookSettings has no shape; it has calltracking, "),
        ("webhooks", {"layout": "x"}, "Invalid enum value 'x' - at `$.layout`"),
        ("webhooks", {"url": "x"}, "the webhooks' url is none; it is as http://host:8080/path"),
        ("send", {"account": "main"}, "from is missing: a day as 2026-01-31"),
        ("send", {"account": "main", "from": "2026-03-02"}, "account main sends no webhooks: set"),
        (
            "send",
            {"account": "main", "from": "2026-03-02", "events": ["x"]},
            "Invalid enum value 'x' - at `$[0]`",
        ),
    ],
)
def test_a_wrong_request_about_webhooks_says_what_is_allowed(
    sim: RunningSimulator, action: str, values: dict[str, Any], message: str
) -> None:
    assert post(sim.base_url, action, **values)["error"].startswith(message)


def test_a_process_of_its_own_sends_live_to_each_accounts_url_and_shows_no_token(
    receiver: Receiver,
) -> None:
    options = ("--account", f"{KEY},name=a", "--account", f"{OLD_KEY},name=b", "--log")
    more = ("--calls-per-day", "2000", "--webhook", "method=GET", "--webhook", "names=call_id:my")
    with run_receiver() as other:
        urls = ("--webhook-url", receiver.url, "--webhook-url", other.url)
        with run_process(*options, *more, *urls, "--now", NOW.isoformat()) as (base_url, process):
            assert process.stdout is not None
            greeting = "".join(process.stdout.readline() for _ in range(4))
            post(base_url, "clock", now=(NOW + dt.timedelta(minutes=30)).isoformat())
            until = time.monotonic() + 20
            while not (receiver.received and other.received) and time.monotonic() < until:
                time.sleep(0.05)
            process.send_signal(signal.SIGTERM)
            output, log = process.communicate(timeout=60)
    assert process.returncode == 0, log
    for each in (receiver, other):
        assert {received.verb for received in each.received} == {"GET"}
        assert all("my" in received.pairs for received in each.received)
    where = f"http://127.0.0.1:{receiver.server_address[1]}/…"
    assert f"    webhooks to {where}, as calls come and go\n" in greeting
    assert _TOKEN not in greeting + output + log


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--webhook", "layout=flat"), "webhooks need a --webhook-url"),
        (("--webhook-url", f"ftp://host/{_TOKEN}"), "the webhooks' url is none; it is as"),
        (("--webhook-url", f"http://a/{_TOKEN}", "--webhook", "loss=2"), "loss is 2.0; it is a"),
        (
            ("--webhook-url", f"http://a/{_TOKEN}", "--webhook", f"http://a/{_TOKEN}?x=1"),
            "a URL is not name=value",
        ),
        (
            ("--webhook-url", f"http://a/{_TOKEN}", "--webhook-url", f"http://b/{_TOKEN}"),
            "2 were given for 1 accounts",
        ),
        (
            ("--webhook-url", f"http://a/{_TOKEN}", "--webhook", "names=call_id"),
            "'call_id' is not name:value",
        ),
    ],
)
def test_a_wrong_option_about_webhooks_is_wrong_usage_and_shows_no_token(
    options: tuple[str, ...], message: str
) -> None:
    code, errors = run_wrongly(*options)
    assert code == 2
    assert message in errors
    assert _TOKEN not in errors
