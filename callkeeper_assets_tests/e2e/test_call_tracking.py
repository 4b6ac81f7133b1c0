"""Calls of call tracking are in the tables soon after their webhooks, which name none of them.

Everything that `callkeeper dev` runs, and the simulated CallKeeper sending as its newer cabinet
does: in every form, in another zone than the source's, many at once.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from callkeeper_assets.simulator.account import SimulatedAccount
from callkeeper_assets.simulator.server import RunningSimulator, run_simulator
from callkeeper_assets.simulator.settings import AccountSettings
from callkeeper_assets_tests.chaos.installation import KEY, SOURCE, Installation
from callkeeper_assets_tests.e2e.dev import Dev, run_dev
from callkeeper_assets_tests.waiting import wait_until

_TOKEN: Final = "moscow-token-0123456789"
_MOST_SEC: Final = 60.0
_AGO: Final = timedelta(minutes=40)
_FORMS: Final[tuple[dict[str, Any], ...]] = (
    {"method": "GET"},
    {"method": "POST", "content": "json"},
    {"method": "PUT", "content": "form"},
    {"method": "DELETE", "content": "json"},
)
_HELD: Final = "SELECT count(*) FROM callkeeper_calls WHERE call_id = ANY(%s) AND origin = 'api'"
# The same bytes come again: POST and DELETE say the same.
_HINTS: Final = """
    SELECT count(*), count(*) + (SELECT count(*) FROM callkeeper_webhook_repeats)
    FROM callkeeper_webhooks WHERE state = 'hint'
"""
_OTHERS: Final = "SELECT count(*) FROM callkeeper_webhooks WHERE state <> 'hint'"
# From the first hint until the last of the calls was written.
_TOOK: Final = """
    SELECT extract(epoch FROM max(loaded_at) - (SELECT min(received_at) FROM callkeeper_webhooks))
        ::float
    FROM callkeeper_calls WHERE call_id = ANY(%s)
"""
_REFRESHES: Final = """
    SELECT count(*) FROM dagster.runs WHERE pipeline_name = 'moscow_refresh' AND run_id <> ALL(%s)
"""
_RUNS: Final = "SELECT run_id FROM dagster.runs WHERE pipeline_name = 'moscow_refresh'"


def noon_zone() -> str:
    """A zone in which it is about noon: the test is not about midnight."""
    hours = 12 - datetime.now(UTC).hour
    return f"Etc/GMT{-hours:+d}"


@pytest.fixture
def simulator() -> Iterator[RunningSimulator]:
    """An account with many calls of call tracking, at a time a little ago."""
    account = AccountSettings(
        key=KEY,
        name=SOURCE,
        time_zone=noon_zone(),
        calls_per_day=20,
        rhythm="flat",
        calltracking_per_day=4_000,
    )
    with run_simulator([account], now=datetime.now(UTC) - _AGO) as running:
        yield running


@pytest.fixture
def dev(installation: Installation, simulator: RunningSimulator) -> Iterator[Dev]:
    """`callkeeper dev` of an installation with that source."""
    installation.add_source(
        simulator.base_urls["ckct"],
        api="ckct",
        time_zone=noon_zone(),
        webhook_token=_TOKEN,
    )
    with run_dev(installation) as running:
        yield running


def happen(account: SimulatedAccount) -> list[int]:
    """Let the calls of the time since happen; return those of call tracking."""
    before = account.clock.now()
    account.clock.set(datetime.now(UTC))
    others = account.unified.list_others(before + 1, account.clock.now() + 1)
    return [call.call_id for call in others if call.service == "calltracking"]


def send(account: SimulatedAccount, dev: Dev, call_ids: list[int]) -> int:
    """Send the webhooks of calls, in every form; return how many."""
    account.set_webhooks(
        url=f"http://127.0.0.1:{dev.webhook_port}//webhooks/{SOURCE}/{_TOKEN}/",
        calltracking=True,
        calltracking_zone="Asia/Vladivostok",
    )
    day = datetime.fromtimestamp(account.clock.now(), account.zone).date()
    sent = []
    for form in _FORMS:
        account.set_webhooks(**form)
        sent += account.send_webhooks(day, call_ids=call_ids)
    assert {one.status for one in sent} == {200}
    return len(sent)


@pytest.mark.e2e
@pytest.mark.timeout(600)
def test_a_burst_of_hints_brings_the_calls_within_a_minute_by_few_runs(
    dev: Dev, simulator: RunningSimulator, installation: Installation
) -> None:
    account = simulator.account(SOURCE)
    ended = installation.run("refresh", SOURCE, "--json")
    assert ended.code == 0, ended.stdout[:3000] + ended.stderr[-1500:]
    before = [run_id for (run_id,) in installation.query(_RUNS)]
    call_ids = happen(account)
    kept = [call_id + 4_000_000_000_000_000 for call_id in call_ids]
    assert installation.query(_HELD, kept) == [(0,)]
    sent = send(account, dev, call_ids)
    assert sent > 300
    wait_until(
        lambda: installation.query(_HELD, kept) == [(len(kept),)], "the calls are there", 150
    )
    [(took,)] = installation.query(_TOOK, kept)
    assert took < _MOST_SEC
    assert installation.query(_REFRESHES, before)[0][0] <= 2
    [(hints, comings)] = installation.query(_HINTS)
    assert comings == sent
    assert installation.query(_OTHERS) == [(0,)]
    listed = installation.run("inbox", "--state", "hint", "--limit", "3")
    assert "There may be more; --limit is 3." in listed.stdout
    assert f"{hints} hints of call tracking" in installation.run("status").stdout
