"""One limit of requests under way per API key, for the whole process.

Two sources with one key share it: the source limits the key, not our configuration. Limits across
processes are the orchestrator's matter.
"""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_registry_lock = threading.Lock()
_limits: dict[bytes, "KeyLimit"] = {}


class KeyLimit:
    """Counts the requests under way with one key; the smallest limit asked for holds."""

    def __init__(self, at_most: int) -> None:
        self._at_most = at_most
        self._under_way = 0
        self._changed = threading.Condition()

    def lower_to(self, at_most: int) -> None:
        """Lower the limit; a higher one than the present is ignored."""
        with self._changed:
            self._at_most = min(self._at_most, at_most)

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Wait for a free slot and hold it inside the `with`."""
        with self._changed:
            self._changed.wait_for(lambda: self._under_way < self._at_most)
            self._under_way += 1
        try:
            yield
        finally:
            with self._changed:
                self._under_way -= 1
                self._changed.notify()


def limit_of_key(api_key: str, at_most: int) -> KeyLimit:
    """Return the process-wide limit of this key. Only a digest of the key is kept."""
    digest = hashlib.sha256(api_key.encode()).digest()
    with _registry_lock:
        limit = _limits.setdefault(digest, KeyLimit(at_most))
    limit.lower_to(at_most)
    return limit
