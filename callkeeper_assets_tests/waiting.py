"""Waiting for what another process or thread does."""

import time
from collections.abc import Callable


def wait_until(is_so: Callable[[], object], what: str, seconds: float = 60) -> None:
    """Look again and again until something is so, less and less often: to look takes time, too.

    Raises:
        AssertionError: It is not so in time.
    """
    began = time.monotonic()
    while not is_so():
        waited = time.monotonic() - began
        assert waited < seconds, f"waited {seconds:g} s in vain until {what}"
        time.sleep(min(0.01 + waited / 20, 0.2))
