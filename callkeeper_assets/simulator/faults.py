"""Which faults strike a request: drawn from a seed, counted, safe under many threads."""

import random
import threading
from collections.abc import Sequence

from callkeeper_assets.simulator.settings import Fault


class FaultBox:
    """The faults of one account that are switched on.

    The draws follow the seed in the order of requests: alike for a client that asks one thing after
    another.
    """

    def __init__(self, seed: str) -> None:
        self._rng = random.Random(seed)  # noqa: S311 - not a secret
        self._lock = threading.Lock()
        self._faults: tuple[Fault, ...] = ()
        self._left: list[int | None] = []

    def set(self, faults: Sequence[Fault]) -> None:
        """Put these faults in place of all others; none of them: every request goes well."""
        with self._lock:
            self._faults = tuple(faults)
            self._left = [fault.times for fault in faults]

    def list(self) -> tuple[Fault, ...]:
        """The faults that can still strike."""
        with self._lock:
            return tuple(
                fault for fault, left in zip(self._faults, self._left, strict=True) if left != 0
            )

    def strike(self, method: str) -> tuple[Fault, ...]:
        """The faults of one request: every latency drawn, and the first of the others.

        A fault that is not reached because another struck first keeps its count.
        """
        struck: list[Fault] = []
        with self._lock:
            for position, fault in enumerate(self._faults):
                left = self._left[position]
                if left == 0 or (fault.methods and method not in fault.methods):
                    continue
                if self._rng.random() >= fault.probability:
                    continue
                if left is not None:
                    self._left[position] = left - 1
                struck.append(fault)
                if fault.kind != "latency":
                    break
        return tuple(struck)
