"""The demo's webhooks: a receiver of its own, and a simulated CallKeeper that sends to it."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Final

from callkeeper_assets.cli.children import start_child, stop_children
from callkeeper_assets.cli.demo_world import DemoSource
from callkeeper_assets.cli.serving import WebAddress, is_listening
from callkeeper_assets.cli.supervisor import read_tail
from callkeeper_assets.home import home
from callkeeper_assets.simulator.account import Account

# Each has two webhooks, one when it starts and one after it.
_CALLS: Final = 6
_LOOK_SEC: Final = 0.05
_LONGEST_SEC: Final = 60.0
_GRACE_SEC: Final = 5.0


@dataclass(frozen=True)
class Sent:
    """What one account sent; all of it was accepted."""

    source: str
    calls: int
    webhooks: int
    repeats: int


def set_webhook_url(account: Account, source: DemoSource, receiver: WebAddress) -> None:
    """Tell an account where its webhooks go, as its owner does in CallKeeper's cabinet."""
    token = os.environ[source.token_variable]
    account.set_webhooks(url=f"{receiver.url}/webhooks/{source.name}/{token}")


@contextmanager
def run_receiver(address: WebAddress) -> Iterator[None]:
    """Run `callkeeper webhooks` as a process.

    Raises:
        RuntimeError: It does not start; with the end of its log.
    """
    log = home() / "logs" / "webhooks.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    arguments = ["-m", "callkeeper_assets.cli.main", "webhooks"]
    arguments += ["--host", address.host, "--port", str(address.port)]
    with log.open("ab") as file:
        process = start_child(arguments, stdout=file, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + _LONGEST_SEC
        while not is_listening(address.port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"The webhook receiver does not start:\n{read_tail(log)}")
            time.sleep(_LOOK_SEC)
        yield
    finally:
        stop_children([process], _GRACE_SEC)


def send_webhooks(account: Account, day: date) -> Sent:
    """Let new calls of a day come, and send their webhooks: some twice, some in the wrong order.

    Raises:
        RuntimeError: The receiver did not accept one.
    """
    account.set_webhooks(duplicate=0.3, wrong_order=0.3)
    deliveries = account.send_webhooks(day, new=_CALLS)
    refused = [each for each in deliveries if not each.is_accepted]
    if refused:
        said = refused[0].status or refused[0].problem
        raise RuntimeError(f"The webhook receiver answered {said} to a webhook.")
    return Sent(
        source=account.settings.name,
        calls=len({each.call_id for each in deliveries}),
        webhooks=len(deliveries),
        repeats=sum(each.is_duplicate for each in deliveries),
    )
