"""Kill -9 of what `callkeeper dev` runs for webhooks: it recovers by itself, and soon.

A killed run does not keep the sensor from starting the next one for longer than a minute, and is
marked as failed; a receiver is started again; a server as well, by whoever needs it.
"""

import os
import signal
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from callkeeper_assets.simulator.account import SimulatedAccount
from callkeeper_assets.simulator.server import run_simulator
from callkeeper_assets.simulator.settings import AccountSettings
from callkeeper_assets_tests.benchmarks.measure import find_tree
from callkeeper_assets_tests.chaos.embedded_server import kill_server
from callkeeper_assets_tests.chaos.holds import hold
from callkeeper_assets_tests.chaos.installation import KEY, SOURCE, Installation
from callkeeper_assets_tests.e2e.dev import Dev, run_dev
from callkeeper_assets_tests.processes import arguments_of
from callkeeper_assets_tests.waiting import wait_until

_ZONE = ZoneInfo("Europe/Moscow")
_TOKEN = "moscow-token-0123456789"
_SOON_SEC = 90.0
_MARKED_SEC = 300.0


@pytest.fixture
def account() -> Iterator[tuple[SimulatedAccount, str]]:
    """An account without any call but those that a test adds, and its API's address."""
    settings = AccountSettings(key=KEY, name=SOURCE, calls_per_day=0, rhythm="flat")
    with run_simulator([settings]) as running:
        yield running.account(SOURCE), running.base_url


@pytest.fixture
def embedded(account: tuple[SimulatedAccount, str], home: Path) -> Installation:
    """An installation with the account's webhooks, and the embedded database."""
    made = Installation(home=home / "home", defs=home / "defs", database="")
    made.add_source(account[1], webhook_token=_TOKEN)
    return made


def _send(account: SimulatedAccount, dev: Dev, calls: int) -> set[int]:
    url = f"http://127.0.0.1:{dev.webhook_port}/webhooks/{SOURCE}/{_TOKEN}"
    # Until it is answered: the receiver may be on its way up.
    account.set_webhooks(url=url, tries=60, retry_wait_sec=0.5)
    sent = account.send_webhooks(datetime.now(_ZONE).date(), new=calls)
    return {one.call_id for one in sent if one.is_accepted}


def _wait_for_calls(installation: Installation, ids: set[int]) -> None:
    count = "SELECT count(*) FROM callkeeper_calls WHERE call_id = ANY(%s)"
    wait_until(
        lambda: installation.query(count, sorted(ids)) == [(len(ids),)],
        "the calls are in the tables",
        _SOON_SEC,
    )


def _find(dev: Dev, words: str) -> list[int]:
    """Return dev's processes whose command line has these words in it."""
    return [pid for pid in find_tree(dev.process.pid) if words in arguments_of(pid)]


@pytest.mark.chaos
@pytest.mark.timeout(1800)
def test_dev_recovers_from_the_death_of_a_run_of_the_receiver_and_of_the_server(
    embedded: Installation, account: tuple[SimulatedAccount, str]
) -> None:
    with run_dev(embedded) as dev:
        ids = _send(account[0], dev, 3)
        _wait_for_calls(embedded, ids)

        ids = _send(account[0], dev, 3)
        with hold(embedded, "LOCK TABLE callkeeper_calls IN EXCLUSIVE MODE") as held:
            held.wait_for_somebody()
            [(run_id,)] = embedded.query(
                "SELECT run_id FROM dagster.runs WHERE status = 'STARTED' ORDER BY id DESC LIMIT 1"
            )
            [run] = _find(dev, "multiprocessing.spawn")
            os.kill(run, signal.SIGKILL)
        _wait_for_calls(embedded, ids)

        [receiver] = _find(dev, "callkeeper_assets.cli.main webhooks")
        os.kill(receiver, signal.SIGKILL)
        ids = _send(account[0], dev, 3)
        assert len(ids) == 3
        _wait_for_calls(embedded, ids)

        kill_server(embedded.home)
        ids = _send(account[0], dev, 3)
        assert len(ids) == 3
        _wait_for_calls(embedded, ids)

        status = "SELECT status FROM dagster.runs WHERE run_id = %s"
        wait_until(
            lambda: embedded.query(status, run_id) == [("FAILURE",)],
            "the killed run is marked as failed",
            _MARKED_SEC,
        )
