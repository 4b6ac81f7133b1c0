"""Kill -9 of the receiver, of runs over the inbox and of PostgreSQL while webhooks come in.

Every payload answered with 2xx is in the tables afterwards, none twice; what is no call is none.
"""

import os
import random
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import pytest

from callkeeper_assets.postgres import EmbeddedPostgres
from callkeeper_assets.simulator.account import SimulatedAccount
from callkeeper_assets.simulator.server import RunningSimulator, run_simulator
from callkeeper_assets.simulator.settings import AccountSettings
from callkeeper_assets.simulator.webhook_settings import SentDelivery
from callkeeper_assets_tests.chaos.facts import describe_difference, read_days, tell_days
from callkeeper_assets_tests.chaos.installation import KEY, Installation
from callkeeper_assets_tests.chaos.webhook_chain import VICTIMS, WebhookChain
from callkeeper_assets_tests.webhooks.installation import TOKENS
from callkeeper_assets_tests.webhooks.posting import Posting

SOURCE: Final = "office"
ZONE: Final = ZoneInfo("Europe/Moscow")
_RATE: Final = 200.0
# About a hundred posts: two a call, some of them twice.
_CALLS_A_KILL: Final = 48
# A burst lasts half a second, a run over it a little longer.
_MOMENTS_SEC: Final = 1.2

_CALLS: Final = """
    SELECT c.call_id, c.is_final, f.duration_sec, c.status FROM callkeeper_calls AS c
    JOIN callkeeper_calls_facts AS f ON f.account_id = c.account_id AND f.calls_id = c.id
    WHERE c.origin = 'webhook'
"""
_COUNTS: Final = """
    SELECT
        (SELECT count(*) FROM callkeeper_calls),
        (SELECT count(*) FROM callkeeper_calls_facts),
        (SELECT sum(rows_added) - sum(rows_deleted) FROM callkeeper_loads
         WHERE table_name = 'callkeeper_calls'),
        (SELECT sum(rows_added) - sum(rows_deleted) FROM callkeeper_loads
         WHERE table_name = 'callkeeper_calls_facts')
"""
_INBOX: Final = "SELECT body, state, reason FROM callkeeper_webhooks"


@pytest.fixture
def account() -> Iterator[tuple[RunningSimulator, SimulatedAccount]]:
    """CallKeeper with one account, which has no calls but those that a test adds."""
    settings = AccountSettings(key=KEY, name=SOURCE, calls_per_day=0, rhythm="flat")
    with run_simulator([settings]) as running:
        yield running, running.account(SOURCE)


@pytest.fixture
def installation(account: tuple[RunningSimulator, SimulatedAccount]) -> Iterator[Installation]:
    """One with the account as its source, and the embedded database."""
    folder = Path(os.environ["CALLKEEPER_TESTS_FOLDER"]) / uuid.uuid4().hex
    made = Installation(home=folder / "home", defs=folder / "defs", database="")
    made.add_source(account[0].base_url, name=SOURCE, webhook_token=TOKENS[SOURCE])
    made.home.mkdir(parents=True)
    # Made beforehand, and used to its end by the test: the last user would stop the server.
    with EmbeddedPostgres(made.home, sync=False):
        yield made


class _Sending:
    """Webhooks of the account's new calls, and among them what is no call."""

    def __init__(self, account: SimulatedAccount, port: int) -> None:
        self._account = account
        account.set_webhooks(
            url=f"http://127.0.0.1:{port}/webhooks/{SOURCE}/{TOKENS[SOURCE]}",
            duplicate=0.1,
            wrong_order=0.3,
            connections=8,
            timeout_sec=20.0,
        )
        self.deliveries: list[SentDelivery] = []
        self.junk = Posting(lambda: port, senders=1, pause_sec=0.1)

    @contextmanager
    def burst(self, day: date, calls: int) -> Iterator[None]:
        """Send two webhooks of each of so many calls while the block runs, and to their end."""
        with ThreadPoolExecutor(1, "burst") as pool:
            sent = pool.submit(self._account.send_webhooks, day, new=calls, rate=_RATE)
            yield
        self.deliveries += sent.result()


def _send_and_kill(chain: WebhookChain, sending: _Sending, day: date, kills: int) -> None:
    """Kill one of the three by turns in each burst, while it comes or is processed."""
    rng = random.Random(f"{kills} kills")  # noqa: S311 -- not a secret
    with sending.junk:
        for number in range(kills):
            with sending.burst(day, _CALLS_A_KILL):
                time.sleep(rng.uniform(0.0, _MOMENTS_SEC))
                chain.kill(VICTIMS[number % len(VICTIMS)])
                chain.look_after()
            chain.wait_until_ready()


def _check_inbox(installation: Installation, sending: _Sending) -> dict[int, set[str]]:
    """All that was answered 2xx is in the inbox once; return the events that are, by call."""
    found = {bytes(body): (state, reason) for body, state, reason in installation.query(_INBOX)}
    [(rows,)] = installation.query("SELECT count(*) FROM callkeeper_webhooks")
    assert rows == len(found), "a payload is in the inbox twice"
    lost = [one for one in sending.deliveries if one.is_accepted and one.payload not in found]
    assert lost == []
    events: dict[int, set[str]] = {}
    for one in sending.deliveries:
        if one.payload in found:
            assert found[one.payload][0] == "processed", found[one.payload]
            events.setdefault(one.call_id, set()).add(one.event)
    for body, statuses in sending.junk.answers.items():
        assert 200 not in statuses or found[body][0] == "rejected", found[body]
    return events


def _check_tables(
    installation: Installation, account: SimulatedAccount, day: date, events: dict[int, set[str]]
) -> None:
    """Just the calls that the inbox tells of, each once, as the last word on it says."""
    truth = {
        int(str(call["call_id"])): (call["is_final"], call["duration_sec"], call["status"])
        for call in account.truth(day, day, ZONE.key).calls
    }
    expected = {
        call_id: truth[call_id] if "Call is over" in reported else (False, None, "in_progress")
        for call_id, reported in events.items()
    }
    found = {call_id: tuple(values) for call_id, *values in installation.query(_CALLS)}
    assert found == expected
    assert installation.query(_COUNTS) == [(len(expected),) * 4]


def _run_chaos(installation: Installation, account: SimulatedAccount, kills: int) -> Installation:
    day = datetime.now(ZONE).date()
    with WebhookChain(installation) as chain:
        sending = _Sending(account, chain.port)
        _send_and_kill(chain, sending, day, kills)
        chain.wait_for_peace()
    statuses = Counter(one.status for one in sending.deliveries)
    assert set(statuses) <= {200, None}
    assert statuses[200] > kills * _CALLS_A_KILL
    assert statuses[None], "no kill has hit a request"
    unended = "SELECT count(*) FROM dagster.runs WHERE status = 'STARTED'"
    assert installation.query(unended) != [(0,)], "no kill has hit a run"
    events = _check_inbox(installation, sending)
    _check_tables(installation, account, day, events)
    return installation


@pytest.mark.chaos
@pytest.mark.timeout(600)
def test_ten_kills_of_receiver_run_and_server_lose_and_double_no_call(
    installation: Installation, account: tuple[RunningSimulator, SimulatedAccount]
) -> None:
    _run_chaos(installation, account[1], kills=10)


@pytest.mark.chaos
@pytest.mark.timeout(3600)
def test_a_hundred_kills_lose_and_double_no_call_and_the_api_has_the_last_word(
    installation: Installation, account: tuple[RunningSimulator, SimulatedAccount]
) -> None:
    _run_chaos(installation, account[1], kills=100)
    day = datetime.now(ZONE).date()
    assert installation.load(day, day, SOURCE).code == 0
    truth = tell_days(account[1].truth(day, day, ZONE.key), day, day, ZONE)
    assert describe_difference(read_days(installation, day, day, ZONE, SOURCE), truth) == ""
