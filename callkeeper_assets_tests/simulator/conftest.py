"""A running simulator whose clock stands, and a plain way to ask it.

The client here knows only HTTP and JSON: the product's own client must not vouch for the simulator.
"""

import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from callkeeper_assets.simulator.server import RunningSimulator, run_simulator
from callkeeper_assets.simulator.settings import AccountSettings
from callkeeper_assets_tests.simulator.receiver import Receiver, run_receiver

KEY = "0123456789abcdef0123456789ABCDEF"
OLD_KEY = "Zz34567890abcdeF"
NOW = dt.datetime(2026, 3, 31, 12, 0, tzinfo=dt.UTC)
DAY = dt.date(2026, 3, 2)


class Asker:
    """Asks one account over HTTP."""

    def __init__(self, sim: RunningSimulator, key: str = KEY) -> None:
        self.base_url = sim.base_url
        self.key = key

    def ask(self, method: str, **parameters: str) -> requests.Response:
        """One GET; `from_` and `to` stand for `date[from]` and `date[to]`."""
        names = {"from_": "date[from]", "to": "date[to]"}
        query = {names.get(name, name): value for name, value in parameters.items()}
        return requests.get(
            f"{self.base_url}/{method}", params={"api_key": self.key, **query}, timeout=10
        )

    def calls(self, from_: str, to: str, time_zone: str = "Europe/Moscow") -> list[dict[str, Any]]:
        """Calls of a window, from a success of the default shape."""
        answer = self.ask("getCallsInfo", from_=from_, to=to, time_zone=time_zone)
        assert answer.status_code == 200, answer.text
        calls: list[dict[str, Any]] = answer.json()["result"]
        return calls

    def day_ids(self, day: dt.date, time_zone: str = "Europe/Moscow") -> list[int]:
        """Ids of one local day's calls, whichever way `date[to]` is read."""
        text = f"{day}T23:59:59"
        return [int(call["id"]) for call in self.calls(f"{day}T00:00:00", text, time_zone)]


@pytest.fixture
def sim() -> Iterator[RunningSimulator]:
    """Two accounts, one with an old key; the clock stands at `NOW`."""
    accounts = [
        AccountSettings(
            key=KEY, name="main", calls_per_day=60, seed=7, first_day=dt.date(2026, 1, 1)
        ),
        AccountSettings(key=OLD_KEY, name="old", calls_per_day=20, time_zone="Asia/Vladivostok"),
    ]
    with run_simulator(accounts, now=NOW) as running:
        yield running


@pytest.fixture
def asker(sim: RunningSimulator) -> Asker:
    return Asker(sim)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver of webhooks that answers 200 unless it is scripted otherwise."""
    with run_receiver() as running:
        yield running
