"""A client of a scripted source that retries without waiting."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from callkeeper_assets.api.client import CallKeeperClient
from callkeeper_assets.api.session import RetryPolicy
from callkeeper_assets_tests.api.fake_source import Answer, Asked, FakeSource, run_fake_source

KEY = "0123456789abcdef0123456789abcdef"
QUICK = RetryPolicy(first_pause_sec=0.001, longest_pause_sec=0.002, longest_retry_after_sec=0.5)

ConnectTo = Callable[..., tuple[CallKeeperClient, FakeSource]]


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
