"""The simulated CallKeeper in a process of its own, and the traffic of its accounts.

Webhooks at a steady rate, each call's two, sent until they are answered with 2xx; calls of past
days change meanwhile. What was accepted is remembered, since all of it has to be in the inbox.
"""

import datetime as dt
import json
import random
import threading
import time
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Final, Self
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from callkeeper_assets.simulator.truth import Truth

ZONE: Final = ZoneInfo("Europe/Moscow")
_MOMENTS: Final = ("called_at", "ordered_at")
# Of a request to the simulator; it sends webhooks again and again meanwhile.
_PATIENCE_SEC: Final = 600.0
_EVENTS_OF_A_CALL: Final = 2
_BETWEEN_CHANGES_SEC: Final = 3.0

# Account, id of the call, event.
Webhook = tuple[str, int, str]


class Source:
    """Asks the simulator."""

    def __init__(self, url: str) -> None:
        self.url = url

    def control(self, action: str, body: object = None, seconds: float = _PATIENCE_SEC) -> Any:  # noqa: ANN401 -- JSON
        """Have the simulator do something, or say something."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/_simulator/{action}", data)
        with urllib.request.urlopen(request, timeout=seconds) as answer:
            return json.load(answer)

    def truth(self, account: str, first: dt.date, last: dt.date) -> Truth:
        """Return what the source holds of these days."""
        words = {"account": account, "from": first, "to": last, "time_zone": ZONE.key}
        told = self.control(f"truth?{urlencode(words)}")
        for call in told["calls"]:
            call |= {name: dt.datetime.fromisoformat(call[name]) for name in _MOMENTS if call[name]}
        return Truth(told["count"], told["sums"], told["calls"])

    def now(self) -> dt.datetime:
        """Return what time the source has."""
        told = self.control("clock", {"now": None})
        return dt.datetime.fromisoformat(told["now"]).astimezone(ZONE)


class Traffic:
    """Sends webhooks and changes calls while the block runs.

    Args:
        source: The simulator.
        accounts: Their names.
        rate: Webhooks a second, of all accounts together.
    """

    def __init__(self, source: Source, accounts: Sequence[str], rate: float) -> None:
        self._source = source
        self._accounts = accounts
        self._rate = rate
        self._stopping = threading.Event()
        self._guard = threading.Lock()
        self._accepted: dict[Webhook, float] = {}
        self.refused = 0
        self.unanswered = 0
        self.changed = 0
        self._random = random.Random(7)  # noqa: S311 -- not a secret
        self._pool = ThreadPoolExecutor(max(8, int(rate * 8)), "traffic")
        self._threads = [
            threading.Thread(target=self._send_all, name="webhooks"),
            threading.Thread(target=self._change_all, name="changes"),
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Send no more; wait for what is under way."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        self._pool.shutdown(wait=True)

    def list_accepted(self, until: float | None = None) -> set[Webhook]:
        """Return what was answered with 2xx, up to a moment of the monotonic clock."""
        with self._guard:
            kept = dict(self._accepted)
        return {one for one, at in kept.items() if until is None or at <= until}

    def _send_all(self) -> None:
        number, due = 0, time.monotonic()
        while not self._stopping.wait(max(0.0, due - time.monotonic())):
            due += _EVENTS_OF_A_CALL / self._rate
            account = self._accounts[number % len(self._accounts)]
            number += 1
            self._pool.submit(self._send, account)

    def _send(self, account: str) -> None:
        today = dt.datetime.now(ZONE).date()
        with suppress(OSError, ValueError):
            sent = self._source.control("send", {"account": account, "from": str(today), "new": 1})
            ended = time.monotonic()
            with self._guard:
                for one in sent:
                    if one["status"] is None:
                        self.unanswered += 1
                    elif one["status"] >= 300:
                        self.refused += 1
                    else:
                        self._accepted[account, one["call_id"], one["event"]] = ended

    def _change_all(self) -> None:
        while not self._stopping.wait(_BETWEEN_CHANGES_SEC):
            yesterday = dt.datetime.now(ZONE).date() - dt.timedelta(1)
            account = self._random.choice(self._accounts)
            with suppress(OSError, ValueError):
                self._source.control("change", {"account": account, "day": str(yesterday)}, 10)
                self.changed += 1
