"""The audit names exactly what the simulated CallKeeper dropped, and nothing keeps the token.

Real receiver, real load: the simulator loses webhooks at random, sends others twice or to a URL
with a wrong token, and tells of all of them in `hooks` as if they had been sent.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import pytest
import requests

from callkeeper_assets.cli.serving import find_free_port
from callkeeper_assets.simulator.server import RunningSimulator, run_simulator
from callkeeper_assets.simulator.settings import AccountSettings
from callkeeper_assets.simulator.webhook_settings import SentDelivery
from callkeeper_assets.webhooks.raw_call import HOOK_EVENTS
from callkeeper_assets_tests.chaos.installation import KEY, SOURCE, Installation
from callkeeper_assets_tests.e2e.secret_search import Searcher
from callkeeper_assets_tests.waiting import wait_until
from callkeeper_assets_tests.webhooks.installation import Receiver

_TOKEN: Final = "moscow-token-0123456789"
_DAYS: Final = [date(2026, 1, 10) + timedelta(days=n) for n in range(5)]
_LOSSES: Final = (0.0, 0.03, 0.3, 0.9)
_LOST: Final = """
    SELECT day, call_id, event, status, kind, is_held FROM callkeeper_lost_webhooks
"""
_BY_DAY: Final = "SELECT day, sent, lost, refused FROM callkeeper_webhook_days ORDER BY day"
_FOUND: Final = "SELECT call_id, event, position, found_at, run_id FROM callkeeper_lost_webhooks"


@pytest.fixture
def simulator() -> Iterator[RunningSimulator]:
    """An account whose calls have settled."""
    account = AccountSettings(
        key=KEY, name=SOURCE, calls_per_day=40, rhythm="flat", calltracking_per_day=5
    )
    with run_simulator([account], now=datetime(2026, 6, 1, tzinfo=UTC)) as running:
        yield running


@contextmanager
def receiving(installation: Installation) -> Iterator[int]:
    """Run the receiver; yield its port."""
    port = find_free_port()
    process = installation.start("callkeeper_assets.cli.main", "webhooks", "--port", str(port))
    receiver = Receiver(process, port, installation.home / "receiver.log")  # type: ignore[arg-type]
    try:
        wait_until(receiver.is_answering, "the receiver answers", 40)
        receiver.wait_for_database("reachable")
        yield port
    finally:
        process.terminate()
        process.communicate(timeout=60)


def send(simulator: RunningSimulator, port: int) -> dict[date, list[SentDelivery]]:
    """Send each day's webhooks, at another rate of loss; the last day's with a wrong token."""
    account, sent = simulator.account(SOURCE), {}
    url = f"http://127.0.0.1:{port}/webhooks/{SOURCE}"
    for day, loss in zip(_DAYS, _LOSSES, strict=False):
        account.set_webhooks(url=f"{url}/{_TOKEN}", loss=loss, duplicate=0.3)
        sent[day] = account.send_webhooks(day)
    account.set_webhooks(url=f"{url}/wrong-token", loss=0.0, duplicate=0.0)
    sent[_DAYS[-1]] = account.send_webhooks(_DAYS[-1])
    return sent


def load(installation: Installation, first: date, last: date) -> None:
    """Load, and with it audit."""
    ended = installation.load(first, last)
    assert ended.code == 0, ended.stdout + ended.stderr


def tell(sent: dict[date, list[SentDelivery]]) -> "Counter[tuple[Any, ...]]":
    """What the audit has to name."""
    return Counter(
        (day, one.call_id, HOOK_EVENTS[one.event], 200, "lost", False)
        if one.outcome == "lost"
        else (day, one.call_id, HOOK_EVENTS[one.event], one.status, "refused", False)
        for day, deliveries in sent.items()
        for one in deliveries
        if not one.is_accepted
    )


@pytest.mark.e2e
def test_the_audit_names_exactly_what_was_dropped_or_refused(
    installation: Installation, simulator: RunningSimulator
) -> None:
    installation.add_source(simulator.base_urls["ckct"], api="ckct", webhook_token=_TOKEN)
    # Another receiver of the account's is nothing to this one.
    simulator.account(SOURCE).set_webhooks(url="http://127.0.0.1:9/crm/hook")
    simulator.account(SOURCE).send_webhooks(_DAYS[0])
    with receiving(installation) as port:
        sent = send(simulator, port)
    load(installation, _DAYS[0], _DAYS[-1])
    expected = tell(sent)
    assert len(expected) > 80
    assert Counter(installation.query(_LOST)) == expected
    assert installation.query(_BY_DAY) == [
        (
            day,
            len(deliveries),
            sum(not one.is_accepted for one in deliveries),
            sum(one.status == 404 for one in deliveries),
        )
        for day, deliveries in sent.items()
    ]
    secrets = Searcher([_TOKEN])
    assert list(secrets.search_tables(installation)) == []
    assert list(secrets.search_files(installation.home)) == []

    before = installation.query(_FOUND)
    load(installation, _DAYS[0], _DAYS[-1])
    assert sorted(installation.query(_FOUND)) == sorted(before)


@pytest.mark.e2e
def test_what_comes_after_all_is_taken_out_and_the_status_tells(
    installation: Installation, simulator: RunningSimulator
) -> None:
    """As from a spool that is drained later."""
    now = datetime.now(UTC)
    simulator.clock.set(now)
    day = now.date() - timedelta(days=2)
    installation.add_source(simulator.base_urls["ckct"], api="ckct", webhook_token=_TOKEN)
    account = simulator.account(SOURCE)
    with receiving(installation) as port:
        url = f"http://127.0.0.1:{port}/webhooks/{SOURCE}/{_TOKEN}"
        account.set_webhooks(url=url, loss=0.5)
        lost = [one for one in account.send_webhooks(day) if one.outcome == "lost"]
        load(installation, day, day)
        assert len(installation.query(_LOST)) == len(lost) > 5
        shown = installation.run("status", "--json").document["sources"][0]["audit"]
        assert (shown["lost"], shown["refused"]) == (len(lost), 0)
        assert f"{len(lost)} are lost (" in installation.run("status").stdout
        history = installation.run("history", str(lost[0].call_id)).stdout
        assert (
            f"webhook {HOOK_EVENTS[lost[0].event]} lost: CallKeeper saw 200, it is not in the inbox"
            in history
        )

        for one in lost:
            answer = requests.post(
                url, one.payload, headers={"content-type": "application/json"}, timeout=10
            )
            assert answer.status_code == 200
    load(installation, day, day)
    assert installation.query(_LOST) == []
    assert "0 are lost (0.0%), 0 were refused" in installation.run("status").stdout
