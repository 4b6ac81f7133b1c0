"""A client of a scripted source that retries without waiting."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from callkeeper_assets.callkeeper.client import CallKeeperClient
from callkeeper_assets.callkeeper.session import RetryPolicy
from callkeeper_assets.raw.store import Day
from callkeeper_assets_tests.callkeeper.fake_source import (
    Answer,
    Asked,
    FakeSource,
    run_fake_source,
)

KEY = "0123456789abcdef0123456789abcdef"
QUICK = RetryPolicy(first_pause_sec=0.001, longest_pause_sec=0.002, longest_retry_after_sec=0.5)

ConnectTo = Callable[..., tuple[CallKeeperClient, FakeSource]]


def payloads_of(day: Day) -> list[bytes]:
    """Return the JSON text of each call of a day."""
    return [text.encode() for text in day.calls["payload"].to_pylist()]


def epochs_of(day: Day) -> list[int]:
    """Return the time of each call of a day: seconds since 1970."""
    return [int(moment.timestamp()) for moment in day.calls["called_at"].to_pylist()]


def fetch_day(client: CallKeeperClient, day: date) -> Day:
    """Fetch one day."""
    (found,) = client.fetch_days([day])
    return found


@pytest.fixture
def connect_to() -> Iterator[ConnectTo]:
    """Start a source that answers so, and a client of it."""
    with ExitStack() as stack:

        def connect(
            answer: Callable[[Asked], Answer], zone: str = "Europe/Moscow", **settings: object
        ) -> tuple[CallKeeperClient, FakeSource]:
            source = stack.enter_context(run_fake_source(answer))
            given: dict[str, Any] = {
                "source": "main_office",
                "api_key": KEY,
                "base_url": source.base_url,
                "time_zone": ZoneInfo(zone),
                "retry": QUICK,
                "timeout_sec": 5.0,
                **settings,
            }
            return stack.enter_context(CallKeeperClient(**given)), source

        yield connect
