"""The simulator in a thread of this process, on a free port: for tests and the demo."""

import datetime as dt
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from callkeeper_assets.simulator.account import Account
from callkeeper_assets.simulator.server import SimulatorServer
from callkeeper_assets.simulator.settings import AccountSettings, AnswerSettings
from callkeeper_assets.simulator.simulator import Simulator
from callkeeper_assets.simulator.truth import ApiName
from callkeeper_assets.simulator.unified_answers import FOLDER


class RunningSimulator:
    """A simulator that answers at `base_url`, under the hands of this process.

    `base_urls` has the address of each of its APIs.
    """

    def __init__(self, simulator: Simulator, base_url: str) -> None:
        self.simulator = simulator
        self.base_url = base_url
        self.base_urls: Mapping[ApiName, str] = {"callkeeper": base_url, "ckct": base_url + FOLDER}
        self.clock = simulator.clock

    def account(self, name: str) -> Account:
        """The account of a name or key."""
        return self.simulator.account(name)


@contextmanager
def run_simulator(
    accounts: Sequence[AccountSettings],
    *,
    answers: AnswerSettings | None = None,
    now: dt.datetime | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
) -> Iterator[RunningSimulator]:
    """Serve accounts until the block ends.

    `answers` are the switches that every account starts with; `now` is an aware moment at which the
    simulator's clock stands, None follows real time; port 0 takes a free one.
    """
    simulator = Simulator(accounts, answers, now)
    server = SimulatorServer(simulator, host, port, is_logged=False)
    thread = threading.Thread(
        # The default of half a second would be spent at the end of every test.
        target=lambda: server.serve_forever(poll_interval=0.02),
        name="callkeeper-simulator",
    )
    thread.start()
    try:
        yield RunningSimulator(simulator, f"http://{host}:{server.server_address[1]}")
    finally:
        server.close()
        thread.join()
